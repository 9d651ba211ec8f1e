"""A network of a few weights, as --model=helpers.tiny_networks:tiny."""

import keras


def tiny(image_size):
    images = net = keras.Input([image_size, image_size, 3])
    net = keras.layers.Conv2D(8, 3, strides=4, activation="relu")(net)
    return keras.Model(images, keras.layers.GlobalAveragePooling2D()(net))


tiny.image_size, tiny.value_range = 32, "inception"
