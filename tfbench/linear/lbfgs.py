"""L-BFGS for regression losses, wholly inside one TensorFlow graph.

The notation is that of Nocedal and Wright, Numerical Optimization (2006), chapters 3 and 7: steps s, changes y of the
gradient, search direction p, step length alpha.

The losses depend on the parameters x through scores that are linear in x. So the line search needs no product with the
data: one product gives the change of the scores along a direction, and the first and second derivatives by alpha follow
from [n, classes] numbers. An iteration costs two products with the data, however many step lengths are tried.

Everything of n rows goes block by block, in lists of TensorFlow (TensorListGetItem). Of [n, classes] numbers only the
scores and their change are held.
"""

import functools
from typing import Any, NamedTuple

import tensorflow as tf

HISTORY = 6  # pairs (s, y) that are remembered
LINE_SEARCH_STEPS = 8  # at most
CURVATURE_CONDITION = 0.2  # c2: a line search ends at |derivative| ≤ c2 · |derivative at alpha = 0|
EPSILON = 1e-12  # of the scaling, where there is neither data nor penalty
REFRESH_ITERATIONS = 25  # after so many the scores are computed anew, against drift
PATIENCE = 25  # iterations in float32 without a smaller gap, after which rounding is the limit


def softmax_loss(scores, labels):
    """Sum of softmax cross-entropies; labels int32 [rows].

    Returns:
      (value, gradient by the scores [rows, classes], sum of second derivatives by one score).
    """
    # Of an example that is nearly right, float32 holds the small probabilities of the wrong classes exactly, but not
    # 1 minus the large one of the right class. So everything is computed from the wrong classes.
    probs, is_right = tf.nn.softmax(scores), tf.one_hot(labels, tf.shape(scores)[1], True, False, dtype=tf.bool)
    wrong = tf.where(is_right, tf.zeros([], scores.dtype), probs)
    wrong_sum = tf.reduce_sum(wrong, axis=1, keepdims=True)
    right = tf.gather(probs, labels, batch_dims=1)[:, None]
    value = tf.reduce_sum(-tf.where(wrong_sum < 0.5, tf.math.log1p(-wrong_sum), tf.math.log(tf.maximum(right, 1e-37))))
    return value, tf.where(is_right, -wrong_sum, wrong), tf.reduce_sum(probs * (1 - probs))


def softmax_change(change, labels):
    """The change of the scores relative to that of the right class, which changes the loss alike."""
    return change - tf.gather(change, labels, batch_dims=1)[:, None]


def softmax_line(scores, change, labels):
    """(first, second derivative) of softmax_loss along a softmax_change, at these scores."""
    del labels
    weighted = tf.nn.softmax(scores) * change
    means = tf.reduce_sum(weighted, axis=1)
    return tf.reduce_sum(means), tf.reduce_sum(weighted * change) - tf.reduce_sum(means ** 2)


def binary_loss(scores, labels):
    """Sum of binary cross-entropies; labels int8 [rows, classes] in {1, 0, -1}, 0 for no loss. As softmax_loss."""
    labels = tf.cast(labels, scores.dtype)
    margins = -labels * scores
    probs = tf.sigmoid(margins)  # of the wrong answer
    labelled = tf.abs(labels)
    return (tf.reduce_sum(labelled * tf.nn.softplus(margins)), -labels * probs,
            tf.reduce_sum(labelled * probs * (1 - probs)))


def binary_change(change, labels):
    """That of the scores."""
    del labels
    return change


def binary_line(scores, change, labels):
    """(first, second derivative) of binary_loss along a change of the scores, at these scores."""
    labels = tf.cast(labels, scores.dtype)
    probs, change = tf.sigmoid(-labels * scores), -labels * change
    weighted = probs * change
    return tf.reduce_sum(weighted), tf.reduce_sum(weighted * change * (1 - probs))


LOSSES = {"softmax": (softmax_loss, softmax_change, softmax_line), "binary": (binary_loss, binary_change, binary_line)}


class Data(NamedTuple):
    """The data X of a problem as the graph takes it: (matrix - mean) · axes, and 1 for the bias.

    Attributes:
      matrix: a list (to_list) of its blocks, [height, width] each; the last may have fewer rows.
      mean: [width]; () where the matrix lies along the axes, centred.
      axes: [width, rank]; () likewise.
      labels: int32 [n], or int8 [n, classes] in {1, 0, -1}.
      height: int32, rows of a block.
    """

    matrix: Any
    mean: Any
    axes: Any
    labels: Any
    height: Any


def to_list(blocks, count: int, dtype):
    """A list of the blocks, arrays of any number of rows, as a tensor; each is copied as it comes."""
    handle = tf.raw_ops.TensorListReserve(element_shape=tf.constant([-1, -1]), num_elements=count, element_dtype=dtype)
    for i, block in enumerate(blocks):
        handle = _write(handle, i, tf.constant(block, dtype))
    return handle


def _write(handle, i, block):
    return tf.raw_ops.TensorListSetItem(input_handle=handle, index=i, item=block)


def _read(handle, i, dtype):
    return tf.raw_ops.TensorListGetItem(input_handle=handle, index=i, element_shape=tf.constant([-1, -1]),
                                        element_dtype=dtype)


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
def minimiser(kind: str, rotated: bool, streamed: bool, stored, dtype):
    """The traced minimiser of one loss; shapes are free, so it is traced once.

    Args:
      kind: a key of LOSSES.
      rotated: whether the matrix lies along the axes, centred.
      streamed: whether its blocks stay in the host's memory and go to the device one by one.
      stored: dtype of the matrix.
      dtype: tf.float32 or tf.float64, of everything else.

    Returns:
      minimise(data, energy [p], penalty [p], metric [p], start [p, classes], relative_gap, absolute_gap,
      max_iterations) → (x [p, classes], iterations). It minimises F(x) = loss(X x) + ½ Σ penalty · x², the last row of
      x being the bias. With gap = Σ metric · gradient² it stops where gap ≤ relative_gap · F, gap ≤ absolute_gap or
      F ≤ absolute_gap, or where this precision gets no further, and returns the x of the smallest gap. Inside, x is
      measured in units of one over the root of F's second derivative at the start, as if every example and class had
      the loss's mean curvature; energy is the squared norm of each column of X.
    """
    loss, relative_change, line = LOSSES[kind]
    scalar, vector, matrix = (tf.TensorSpec([None] * rank, dtype) for rank in range(3))
    whole = tf.TensorSpec([], tf.int32)
    labels = tf.TensorSpec([None], tf.int32) if kind == "softmax" else tf.TensorSpec([None, None], tf.int8)
    mean, axes = ((), ()) if rotated else (vector, matrix)
    of_data = Data(tf.TensorSpec([], tf.variant), mean, axes, labels, whole)

    @tf.function(input_signature=[of_data, vector, vector, vector, matrix, scalar, scalar, whole])
    def minimise(data, energy, penalty, metric, start, relative_gap, absolute_gap, max_iterations):
        energy, penalty, metric = energy[:, None], penalty[:, None], metric[:, None]
        count = tf.shape(data.labels)[0]
        blocks = (count + data.height - 1) // data.height
        no_scores = tf.raw_ops.TensorListReserve(element_shape=tf.constant([-1, -1]), num_elements=blocks,
                                                 element_dtype=dtype)

        def over_blocks(body, *state):
            """body(i, labels of the block, *state) → state, for every block i."""
            return tf.while_loop(
                lambda i, *state: i < blocks,
                lambda i, *state: (i + 1, *body(i, data.labels[i * data.height:(i + 1) * data.height], *state)),
                (0, *state), parallel_iterations=1)[1:]

        def rows(i):
            with tf.device("CPU:0" if streamed else None):
                block = _read(data.matrix, i, stored)
            return block if rotated else tf.cast(block, dtype) - data.mean

        def kernel_of(x):
            """x as (kernel, bias), whose product with a block's rows is of X and x."""
            return x[:-1] if rotated else tf.matmul(data.axes, x[:-1]), x[-1]

        def product(block, kernel, bias):
            return tf.matmul(block, kernel) + bias

        def at(scores, scores_of):
            """The losses at scores_of(i, rows of the block, scores), which take the place of `scores` block by block.

            Returns:
              (scores, sum of losses, its gradient by x, sum of second derivatives).
            """
            def body(i, labels, scores, value, products, sums, curvature):
                block = rows(i)
                part = scores_of(i, block, scores)
                more, score_gradient, more_curvature = loss(part, labels)
                # (vᵀ X)ᵀ, not Xᵀ v: on two CPU cores the other order took 1.2 to 1.6 times as long.
                return (_write(scores, i, part), value + more,
                        products + tf.matmul(score_gradient, block, transpose_a=True),
                        sums + tf.reduce_sum(score_gradient, axis=0), curvature + more_curvature)

            classes, zero = tf.shape(start)[1], tf.zeros([], dtype)
            width = tf.shape(start)[0] - 1 if rotated else tf.shape(data.axes)[0]
            scores, value, products, sums, curvature = over_blocks(
                body, scores, zero, tf.zeros([classes, width], dtype), tf.zeros([classes], dtype), zero)
            if not rotated:
                products = tf.matmul(products, data.axes)
            return scores, value, tf.concat([tf.transpose(products), sums[None]], 0), curvature

        def gap_of(gradient):
            return tf.reduce_sum(metric * (gradient / unit) ** 2)

        def converged(value, gap):
            return (gap <= relative_gap * value) | (gap <= absolute_gap) | (value <= absolute_gap)

        def penalised(value, gradient, z):
            x = unit * z
            return value + tf.reduce_sum(penalty * x ** 2) / 2, unit * (gradient + penalty * x)

        def step_length(scores, change, z, p, gradient):
            penalty_slope, penalty_curvature = (tf.reduce_sum(penalty * unit ** 2 * a * p) for a in (z, p))

            def derivatives(alpha):
                def body(i, labels, slope, curvature):
                    along = _read(change, i, dtype)
                    more, more_curvature = line(_read(scores, i, dtype) + alpha * along, along, labels)
                    return slope + more, curvature + more_curvature

                slope, curvature = over_blocks(body, penalty_slope + alpha * penalty_curvature, penalty_curvature)
                return slope, curvature

            return line_search(derivatives, tf.reduce_sum(gradient * p), dtype)

        def iterate(i, z, scores, value, gradient, s, y, best_z, best_gap, since_best, stuck):
            p = search_direction(gradient, s, y)
            kernel = kernel_of(unit * p)
            change, = over_blocks(lambda block, labels, change: (
                _write(change, block, relative_change(product(rows(block), *kernel), labels)),), no_scores)
            alpha = step_length(scores, change, z, p, gradient)
            new_z = z + alpha * p
            anew = i % REFRESH_ITERATIONS == REFRESH_ITERATIONS - 1
            new_kernel = tf.cond(anew, lambda: kernel_of(unit * new_z), lambda: (tf.zeros([0, 0], dtype),
                                                                                 tf.zeros([0], dtype)))
            new_scores, new_value, new_gradient, _ = at(scores, lambda i, block, scores: tf.cond(
                anew, lambda: product(block, *new_kernel),
                lambda: _read(scores, i, dtype) + alpha * _read(change, i, dtype)))
            new_value, new_gradient = penalised(new_value, new_gradient, new_z)
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

        start_kernel = kernel_of(start)
        scores, value, gradient, curvature = at(no_scores, lambda i, block, scores: product(block, *start_kernel))
        mean_curvature = curvature / tf.cast(count, dtype) / tf.cast(tf.shape(start)[1], dtype)
        unit = tf.math.rsqrt(energy * mean_curvature + penalty + EPSILON)  # z = x / unit
        z = start / unit
        value, gradient = penalised(value, gradient, z)
        empty = tf.zeros(tf.concat([[HISTORY], tf.shape(start)], 0), dtype)
        iterations, *_, best_z, _, _, _ = tf.while_loop(
            lambda i, z, scores, value, gradient, s, y, best_z, best_gap, since_best, stuck: (
                ~converged(value, best_gap) & (i < max_iterations) & ~stuck),
            iterate, (0, z, scores, value, gradient, empty, empty, z, gap_of(gradient), 0, False))
        return unit * best_z, iterations

    return minimise
