"""Files of images: what a folder of them is taken for, and their pixels as an image viewer shows them."""
