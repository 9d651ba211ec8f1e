"""L-BFGS for regression losses, wholly inside one TensorFlow graph.

The notation is that of Nocedal and Wright, Numerical Optimization (2006), chapters 3 and 7: steps s, changes y of the
gradient, search direction p, step length alpha.

The losses depend on the parameters x through scores that are linear in x. So the line search needs no product with the
data: one product gives the change of the scores along a direction, and the first and second derivatives by alpha follow
from [n, classes] numbers. An iteration costs two products with the data, however many step lengths are tried.
"""

import functools

import tensorflow as tf

HISTORY = 6  # pairs (s, y) that are remembered
LINE_SEARCH_STEPS = 8  # at most
CURVATURE_CONDITION = 0.2  # c2: a line search ends at |derivative| ≤ c2 · |derivative at alpha = 0|
EPSILON = 1e-12  # of the scaling, where there is neither data nor penalty
REFRESH_ITERATIONS = 25  # after so many the scores are computed anew, against drift
PATIENCE = 25  # iterations in float32 without a smaller gap, after which rounding is the limit


def softmax_loss(scores, labels):
    """Sum of softmax cross-entropies; labels [n, classes] one-hot.

    Returns:
      (value, gradient by the scores [n, classes], mean second derivative by one score).
    """
    # Of an example that is nearly right, float32 holds the small probabilities of the wrong classes exactly, but not
    # 1 minus the large one of the right class. So everything is computed from the wrong classes.
    probs = tf.nn.softmax(scores)
    wrong = (1 - labels) * probs
    wrong_sum = tf.reduce_sum(wrong, axis=1, keepdims=True)
    right = tf.reduce_sum(labels * probs, axis=1, keepdims=True)
    value = tf.reduce_sum(-tf.where(wrong_sum < 0.5, tf.math.log1p(-wrong_sum), tf.math.log(tf.maximum(right, 1e-37))))
    return value, wrong - labels * wrong_sum, tf.reduce_mean(probs * (1 - probs))


def softmax_line(scores, change, labels):
    """softmax_loss at scores + alpha · change: returns alpha → (first, second derivative by alpha)."""
    change -= tf.reduce_sum(labels * change, axis=1, keepdims=True)  # relative to the right class: the same loss

    def derivatives(alpha):
        weighted = tf.nn.softmax(scores + alpha * change) * change
        means = tf.reduce_sum(weighted, axis=1)
        return tf.reduce_sum(means), tf.reduce_sum(weighted * change) - tf.reduce_sum(means ** 2)

    return derivatives


def binary_loss(scores, labels):
    """Sum of binary cross-entropies; labels [n, classes] in {1, 0, -1}, 0 for no loss. Returns as softmax_loss."""
    margins = -labels * scores
    probs = tf.sigmoid(margins)  # of the wrong answer
    labelled = tf.cast(labels != 0, scores.dtype)
    return (tf.reduce_sum(labelled * tf.nn.softplus(margins)), -labels * probs,
            tf.reduce_mean(labelled * probs * (1 - probs)))


def binary_line(scores, change, labels):
    """binary_loss at scores + alpha · change: returns alpha → (first, second derivative by alpha)."""
    margins, change = -labels * scores, -labels * change

    def derivatives(alpha):
        probs = tf.sigmoid(margins + alpha * change)
        weighted = probs * change
        return tf.reduce_sum(weighted), tf.reduce_sum(weighted * change * (1 - probs))

    return derivatives


LOSSES = {"softmax": (softmax_loss, softmax_line), "binary": (binary_loss, binary_line)}


def make_products(blocks, count, streamed: bool):
    """The two products with the data: u → X u and v → Xᵀ v.

    Args:
      blocks: [blocks, height, p], the rows of X block by block, zeros after the last; one block unless streamed.
      count: rows of X.
      streamed: whether the blocks stay in the host's memory and go to the device one by one.
    """
    if not streamed:
        matrix = blocks[0]
        # (vᵀ X)ᵀ, not Xᵀ v: on two CPU cores the other order took 1.2 to 1.6 times as long.
        return lambda u: tf.matmul(matrix, u), lambda v: tf.transpose(tf.matmul(v, matrix, transpose_a=True))
    shape = tf.shape(blocks)

    def block(i):
        with tf.device("CPU:0"):
            return blocks[i]

    def product(u):
        products = tf.while_loop(lambda i, products: i < shape[0],
                                 lambda i, products: (i + 1, products.write(i, tf.matmul(block(i), u))),
                                 (0, tf.TensorArray(u.dtype, size=shape[0])))[1]
        return tf.reshape(products.stack(), [-1, tf.shape(u)[1]])[:count]

    def transposed_product(v):
        v = tf.reshape(tf.pad(v, [[0, shape[0] * shape[1] - count], [0, 0]]), [shape[0], shape[1], tf.shape(v)[1]])
        return tf.while_loop(
            lambda i, total: i < shape[0],
            lambda i, total: (i + 1, total + tf.matmul(block(i), v[i], transpose_a=True)),
            (0, tf.zeros([shape[2], tf.shape(v)[2]], v.dtype)))[1]

    return product, transposed_product


def search_direction(gradient, s, y):
    """-H · gradient, H being L-BFGS's compact inverse Hessian (Byrd, Nocedal and Schnabel 1994, 3.1).

    Args:
      gradient: [p, classes]. s, y: [HISTORY, p, classes], the latest last, zeros before the first.
    """
    s, y, g = tf.reshape(s, [HISTORY, -1]), tf.reshape(y, [HISTORY, -1]), tf.reshape(gradient, [1, -1])
    sy, yy = tf.matmul(s, y, transpose_b=True), tf.matmul(y, y, transpose_b=True)
    diag = tf.linalg.diag_part(sy)
    upper = tf.linalg.set_diag(tf.linalg.band_part(sy, 0, -1), tf.where(diag > 0, diag, 1.0))
    gamma = tf.where(diag[-1] > 0, tf.math.divide_no_nan(diag[-1], yy[-1, -1]), 1.0)  # H₀ = gamma · I
    u = tf.linalg.triangular_solve(upper, tf.matmul(s, g, transpose_b=True), lower=False)
    v = diag[:, None] * u + gamma * tf.matmul(yy, u) - gamma * tf.matmul(y, g, transpose_b=True)
    v = tf.linalg.triangular_solve(upper, v, lower=False, adjoint=True)
    p = gamma * (g - tf.matmul(u, y, transpose_a=True)) + tf.matmul(v, s, transpose_a=True)
    return -tf.reshape(p, tf.shape(gradient))


def line_search(derivatives, initial_slope, dtype):
    """The step length alpha at which a convex function's slope is about 0, by safeguarded Newton steps from alpha = 1.

    Args:
      derivatives: alpha → (first, second derivative). initial_slope: the first derivative at alpha = 0.
    """
    def body(i, alpha, low, high, done):
        slope, curvature = derivatives(alpha)
        low, high = tf.where(slope < 0, alpha, low), tf.where(slope > 0, alpha, high)
        done = tf.abs(slope) <= CURVATURE_CONDITION * tf.abs(initial_slope)
        newton = alpha - slope / curvature
        inside = (newton > low) & (newton < tf.minimum(high, 10 * alpha))
        bisected = tf.where(tf.math.is_finite(high), (low + high) / 2, 4 * alpha)
        return i + 1, tf.where(done, alpha, tf.where(inside, newton, bisected)), low, high, done

    return tf.while_loop(lambda i, alpha, low, high, done: ~done & (i < LINE_SEARCH_STEPS), body,
                         (0, tf.ones([], dtype), tf.zeros([], dtype), tf.constant(float("inf"), dtype), False))[1]


@functools.cache
def minimiser(kind: str, streamed: bool = False, dtype=tf.float32):
    """The traced minimiser of one loss; shapes are free, so it is traced once.

    Args:
      kind: a key of LOSSES.
      streamed: see make_products.
      dtype: tf.float32 or tf.float64, of everything.

    Returns:
      minimise(blocks [blocks, height, p] for X [n, p], labels [n, classes], energy [p], penalty [p], metric [p],
      start [p, classes], relative_gap, absolute_gap, max_iterations) → (x [p, classes], iterations). It minimises
      F(x) = loss(X x) + ½ Σ penalty · x². With gap = Σ metric · gradient² it stops where
      gap ≤ relative_gap · F, gap ≤ absolute_gap or F ≤ absolute_gap, or where this precision gets no further, and
      returns the x of the smallest gap. Inside, x is measured in units of one over the root of F's second derivative
      at the start, as if every example and class had the loss's mean curvature; energy is the squared norm of each
      column of X.
    """
    loss, line = LOSSES[kind]
    scalar, vector, matrix, tensor = (tf.TensorSpec([None] * rank, dtype) for rank in range(4))

    @tf.function(input_signature=[tensor, matrix, vector, vector, vector, matrix, scalar, scalar,
                                  tf.TensorSpec([], tf.int32)])
    def minimise(blocks, labels, energy, penalty, metric, start, relative_gap, absolute_gap, max_iterations):
        energy, penalty, metric = energy[:, None], penalty[:, None], metric[:, None]
        product, transposed_product = make_products(blocks, tf.shape(labels)[0], streamed)
        scores = product(start)
        unit = tf.math.rsqrt(energy * loss(scores, labels)[2] + penalty + EPSILON)  # z = x / unit

        def value_and_gradient(scores, z):
            value, score_gradient, _ = loss(scores, labels)
            x = unit * z
            gradient = transposed_product(score_gradient) + penalty * x
            return value + tf.reduce_sum(penalty * x ** 2) / 2, unit * gradient

        def gap_of(gradient):
            return tf.reduce_sum(metric * (gradient / unit) ** 2)

        def converged(value, gap):
            return (gap <= relative_gap * value) | (gap <= absolute_gap) | (value <= absolute_gap)

        def step_length(scores, change, z, p, gradient):
            penalty_slope, penalty_curvature = (tf.reduce_sum(penalty * unit ** 2 * a * p) for a in (z, p))
            loss_derivatives = line(scores, change, labels)

            def derivatives(alpha):
                slope, curvature = loss_derivatives(alpha)
                return slope + penalty_slope + alpha * penalty_curvature, curvature + penalty_curvature

            return line_search(derivatives, tf.reduce_sum(gradient * p), dtype)

        def iterate(i, z, scores, value, gradient, s, y, best_z, best_gap, since_best, stuck):
            p = search_direction(gradient, s, y)
            change = product(unit * p)
            alpha = step_length(scores, change, z, p, gradient)
            new_z = z + alpha * p
            new_scores = tf.cond(i % REFRESH_ITERATIONS == REFRESH_ITERATIONS - 1, lambda: product(unit * new_z),
                                 lambda: scores + alpha * change)
            new_value, new_gradient = value_and_gradient(new_scores, new_z)
            new_s, new_y = new_z - z, new_gradient - gradient
            s, y = tf.concat([s[1:], new_s[None]], 0), tf.concat([y[1:], new_y[None]], 0)
            gap = gap_of(new_gradient)
            better = gap < best_gap
            since_best = tf.where(better, 0, since_best + 1)
            stuck = ~(tf.reduce_sum(new_s * new_y) > 0)
            if dtype == tf.float32:
                stuck |= since_best >= PATIENCE
            return (i + 1, new_z, new_scores, new_value, new_gradient, s, y,
                    tf.where(better, new_z, best_z), tf.where(better, gap, best_gap), since_best, stuck)

        z = start / unit
        value, gradient = value_and_gradient(scores, z)
        empty = tf.zeros(tf.concat([[HISTORY], tf.shape(start)], 0), dtype)
        iterations, *_, best_z, _, _, _ = tf.while_loop(
            lambda i, z, scores, value, gradient, s, y, best_z, best_gap, since_best, stuck: (
                ~converged(value, best_gap) & (i < max_iterations) & ~stuck),
            iterate, (0, z, scores, value, gradient, empty, empty, z, gap_of(gradient), 0, False))
        return unit * best_z, iterations

    return minimise
