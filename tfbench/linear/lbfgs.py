"""L-BFGS for regression losses, wholly inside one TensorFlow graph.

The losses depend on the unknowns through scores that are linear in them. So a line search needs no product with
the data: one product gives the scores' change along a direction, and the best step follows from its first and
second derivatives over [n, classes] numbers. An iteration costs two products with the data, however many steps
its line search looks at.
"""

import functools

import tensorflow as tf

MEMORY = 6  # pairs of steps and gradients
LINE_SEARCH = 8  # looks along a direction at most
CURVATURE = 0.2  # a line search ends where the slope has fallen to this share
TINY = 1e-12  # where there is neither data nor penalty
REFRESH = 25  # iterations after which scores are computed anew, against drift
PATIENCE = 25  # iterations in float32 without coming closer after which rounding is what holds it up


def softmax_loss(scores, labels):
    """Sum of cross-entropies; labels [n, classes] one-hot.

    Returns:
      (value, gradient by the scores [n, classes], mean second derivative by one score).
    """
    # Of an example that is nearly right only the small chances of the other classes are known exactly: everything is
    # made of them, nothing of one less a chance near one.
    chances = tf.nn.softmax(scores)
    others = (1 - labels) * chances
    missing = tf.reduce_sum(others, axis=1, keepdims=True)
    own = tf.reduce_sum(labels * chances, axis=1, keepdims=True)
    value = tf.reduce_sum(-tf.where(missing < 0.5, tf.math.log1p(-missing), tf.math.log(tf.maximum(own, 1e-37))))
    return value, others - labels * missing, tf.reduce_mean(chances * (1 - chances))


def softmax_line(scores, change, labels):
    """softmax_loss along a change of the scores: a function from t to first and second derivative by t."""
    change -= tf.reduce_sum(labels * change, axis=1, keepdims=True)  # against the right class: the same loss

    def look(t):
        weighted = tf.nn.softmax(scores + t * change) * change
        means = tf.reduce_sum(weighted, axis=1)
        return tf.reduce_sum(means), tf.reduce_sum(weighted * change) - tf.reduce_sum(means ** 2)

    return look


def binary_loss(scores, labels):
    """Sum of binary cross-entropies; labels [n, classes] in {1, 0, -1}, 0 for no loss. Returns: see softmax_loss."""
    signed = -labels * scores
    chances = tf.sigmoid(signed)  # of being wrong
    counted = tf.cast(labels != 0, scores.dtype)
    return (tf.reduce_sum(counted * tf.nn.softplus(signed)), -labels * chances,
            tf.reduce_mean(counted * chances * (1 - chances)))


def binary_line(scores, change, labels):
    """softmax_line for binary_loss."""
    signed, change = -labels * scores, -labels * change

    def look(t):
        chances = tf.sigmoid(signed + t * change)
        weighted = chances * change
        return tf.reduce_sum(weighted), tf.reduce_sum(weighted * change * (1 - chances))

    return look


LOSSES = {"softmax": (softmax_loss, softmax_line), "binary": (binary_loss, binary_line)}


def products(inputs, count, streamed: bool):
    """The products with the data: x → X x and v → Xᵀ v.

    Args:
      inputs: [blocks, height, p], X below each other with rows of zeros at the end; one block unless streamed.
      count: rows of X.
      streamed: whether the blocks stay in the host's memory and go to the device one by one.
    """
    if not streamed:
        matrix = inputs[0]
        # Vᵀ X, not Xᵀ V: on two CPU cores the other order took 1.2 to 1.6 times as long.
        return lambda x: tf.matmul(matrix, x), lambda v: tf.transpose(tf.matmul(v, matrix, transpose_a=True))
    shape = tf.shape(inputs)

    def block(i):
        with tf.device("CPU:0"):
            return inputs[i]

    def times(x):
        parts = tf.while_loop(lambda i, parts: i < shape[0],
                              lambda i, parts: (i + 1, parts.write(i, tf.matmul(block(i), x))),
                              (0, tf.TensorArray(x.dtype, size=shape[0])))[1]
        return tf.reshape(parts.stack(), [-1, tf.shape(x)[1]])[:count]

    def transposed(v):
        v = tf.reshape(tf.pad(v, [[0, shape[0] * shape[1] - count], [0, 0]]), [shape[0], shape[1], tf.shape(v)[1]])
        return tf.while_loop(
            lambda i, total: i < shape[0],
            lambda i, total: (i + 1, total + tf.matmul(block(i), v[i], transpose_a=True)),
            (0, tf.zeros([shape[2], tf.shape(v)[2]], v.dtype)))[1]

    return times, transposed


@functools.cache
def minimiser(kind: str, streamed: bool = False, dtype=tf.float32):
    """The traced minimiser of one loss; shapes are free, so it is traced once.

    Args:
      kind: a key of LOSSES.
      streamed: see products.
      dtype: tf.float32 or tf.float64, of everything.

    Returns:
      minimise(inputs [blocks, height, p] for X [n, p], labels [n, classes], energy [p], penalty [p], metric [p],
      start [p, classes], target, floor, max_iterations) → (unknowns [p, classes], iterations). It minimises
      F = loss(X @ unknowns) + ½ Σ penalty · unknowns² and stops once Σ metric · gradient² ≤ target · F or ≤ floor,
      or F ≤ floor, or no closer is possible in this precision, and returns the closest. Unknowns are measured in
      units of one over the root of F's second derivative at the start, as it would be if every example and class had
      the loss's mean curvature; energy is the squared norm of each column of X.
    """
    loss, line = LOSSES[kind]
    matrix, vector, scalar = ([None, None], [None], [])

    @tf.function(input_signature=[tf.TensorSpec(shape, dtype) for shape in (
        [None, None, None], matrix, vector, vector, vector, matrix, scalar, scalar)] + [tf.TensorSpec([], tf.int32)])
    def minimise(inputs, labels, energy, penalty, metric, start, target, floor, max_iterations):
        energy, penalty, metric = energy[:, None], penalty[:, None], metric[:, None]
        times, transposed = products(inputs, tf.shape(labels)[0], streamed)
        scores = times(start)
        unit = tf.math.rsqrt(energy * loss(scores, labels)[2] + penalty + TINY)

        def slope(scores, x):
            value, by_scores, _ = loss(scores, labels)
            unknowns = unit * x
            gradient = transposed(by_scores) + penalty * unknowns
            return value + tf.reduce_sum(penalty * unknowns ** 2) / 2, unit * gradient

        def gap_of(gradient):
            return tf.reduce_sum(metric * (gradient / unit) ** 2)

        def done(value, gap):
            return (gap <= target * value) | (gap <= floor) | (value <= floor)

        def direction(gradient, steps, changes):
            """What the remembered steps and changes of the gradient make of it (Byrd, Nocedal, Schnabel 1994, 3.1)."""
            s, y = (tf.reshape(part, [MEMORY, -1]) for part in (steps, changes))
            g = tf.reshape(gradient, [1, -1])
            bent, squares = tf.matmul(s, y, transpose_b=True), tf.matmul(y, y, transpose_b=True)
            own = tf.linalg.diag_part(bent)
            upper = tf.linalg.set_diag(tf.linalg.band_part(bent, 0, -1), tf.where(own > 0, own, 1.0))
            size = tf.where(own[-1] > 0, tf.math.divide_no_nan(own[-1], squares[-1, -1]), 1.0)
            u = tf.linalg.triangular_solve(upper, tf.matmul(s, g, transpose_b=True), lower=False)
            v = own[:, None] * u + size * tf.matmul(squares, u) - size * tf.matmul(y, g, transpose_b=True)
            v = tf.linalg.triangular_solve(upper, v, lower=False, adjoint=True)
            d = size * (g - tf.matmul(u, y, transpose_a=True)) + tf.matmul(v, s, transpose_a=True)
            return -tf.reshape(d, tf.shape(gradient))

        def search(scores, change, x, d, first):
            """The step along d where the convex objective's slope is about 0."""
            flat, bent = (tf.reduce_sum(penalty * unit ** 2 * part * d) for part in (x, d))
            look = line(scores, change, labels)

            def step(number, t, low, high, ready):
                rise, curve = look(t)
                rise, curve = rise + flat + t * bent, curve + bent
                low, high = tf.where(rise < 0, t, low), tf.where(rise > 0, t, high)
                ready = tf.abs(rise) <= CURVATURE * tf.abs(first)
                newton = t - rise / curve
                inside = (newton > low) & (newton < tf.minimum(high, 10 * t))
                middle = tf.where(tf.math.is_finite(high), (low + high) / 2, 4 * t)
                return number + 1, tf.where(ready, t, tf.where(inside, newton, middle)), low, high, ready

            return tf.while_loop(
                lambda number, t, low, high, ready: ~ready & (number < LINE_SEARCH), step,
                (0, tf.ones([], dtype), tf.zeros([], dtype), tf.constant(float("inf"), dtype), False))[1]

        def iterate(number, x, scores, value, gradient, steps, changes, best, gap, since, stuck):
            d = direction(gradient, steps, changes)
            change = times(unit * d)
            t = search(scores, change, x, d, tf.reduce_sum(gradient * d))
            new_x = x + t * d
            new_scores = tf.cond(number % REFRESH == REFRESH - 1, lambda: times(unit * new_x),
                                 lambda: scores + t * change)
            new_value, new_gradient = slope(new_scores, new_x)
            step, bent = new_x - x, new_gradient - gradient
            steps, changes = (tf.concat([kept[1:], new[None]], 0) for kept, new in ((steps, step), (changes, bent)))
            new_gap = gap_of(new_gradient)
            closer = new_gap < gap
            since = tf.where(closer, 0, since + 1)
            stuck = ~(tf.reduce_sum(step * bent) > 0)
            if dtype == tf.float32:
                stuck |= since >= PATIENCE
            return (number + 1, new_x, new_scores, new_value, new_gradient, steps, changes,
                    tf.where(closer, new_x, best), tf.where(closer, new_gap, gap), since, stuck)

        x = start / unit
        value, gradient = slope(scores, x)
        empty = tf.zeros(tf.concat([[MEMORY], tf.shape(start)], 0), dtype)
        found = tf.while_loop(
            lambda number, x, scores, value, gradient, steps, changes, best, gap, since, stuck: (
                ~done(value, gap) & (number < max_iterations) & ~stuck),
            iterate, (0, x, scores, value, gradient, empty, empty, x, gap_of(gradient), 0, False))
        return unit * found[7], found[0]

    return minimise
