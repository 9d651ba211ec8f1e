"""TFDS builders of data sets that TFDS lacks, and what runs builders."""
