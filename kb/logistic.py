"""Multinomial logistic regression on a kernel: few examples, many entries, no waiting.

The loss is minimised by L-BFGS in the space of functions that the kernel spans, where the
problem is well conditioned; each step costs one product with the kernel. The result is the same
L2-regularised model that a solver on the features would find (C is its inverse penalty).
"""

from collections.abc import Callable

import numpy as np

from kb.vectors import Floats, Ints

_MEMORY = 6


def fit_logistic(
    product: Callable[[Floats], Floats],
    targets: Ints,
    classes: int,
    *,
    c: float,
    weights: Floats | None = None,
    offset: Floats | None = None,
    steps: int = 40,
    tolerance: float = 5e-3,
) -> Floats:
    """Coefficients of each example for each class.

    `product` multiplies the kernel matrix of the examples with an (examples x classes) array;
    `offset` holds scores that other examples, fixed, give to these.
    """
    rows = np.arange(len(targets))
    mass = np.ones(len(targets), np.float32) if weights is None else weights
    penalty = np.float32(1.0 / c)
    a = np.zeros((len(targets), classes), np.float32)
    f = np.zeros_like(a)

    def residual(scores: Floats) -> tuple[float, Floats]:
        if offset is not None:
            scores = scores + offset
        shifted = scores - scores.max(axis=1, keepdims=True)
        odds = np.exp(shifted)
        total = odds.sum(axis=1, keepdims=True)
        loss = float((mass * (np.log(total[:, 0]) - shifted[rows, targets])).sum())
        odds /= total
        odds[rows, targets] -= 1.0
        odds *= mass[:, None]
        return loss, odds

    loss, r = residual(f)
    value = loss
    g = r
    kg = product(g)
    start = norm = _inner(g, kg)
    pairs: list[tuple[Floats, Floats, Floats, Floats, float]] = []
    for _ in range(steps):
        if norm <= tolerance**2 * start:
            break
        d, kd = _direction(g, kg, pairs)
        slope = _inner(d, kg)
        step = 1.0 if pairs else min(1.0, 1.0 / max(1e-9, float(np.sqrt(norm))))
        fd, dd = _inner(f, d), _inner(d, kd)
        ff = _inner(f, a)
        for _attempt in range(20):
            loss, r_new = residual(f + np.float32(step) * kd)
            reached = loss + 0.5 * float(penalty) * (ff + 2 * step * fd + step**2 * dd)
            if reached <= value + 1e-4 * step * slope:
                break
            step *= 0.5
        else:
            break
        s, ks = np.float32(step) * d, np.float32(step) * kd
        a, f, value = a + s, f + ks, reached
        g_new = r_new + penalty * a
        kg_new = product(r_new) + penalty * f
        y, ky = g_new - g, kg_new - kg
        sy = _inner(y, ks)
        if sy > 0:
            pairs = [*pairs[-(_MEMORY - 1) :], (s, ks, y, ky, sy)]
        g, kg = g_new, kg_new
        norm = _inner(g, kg)
    return a


def _inner(left: Floats, right: Floats) -> float:
    return float(np.vdot(left, right))


def _direction(
    g: Floats, kg: Floats, pairs: list[tuple[Floats, Floats, Floats, Floats, float]]
) -> tuple[Floats, Floats]:
    """The L-BFGS descent direction, and the kernel's product with it."""
    q, kq = -g, -kg
    shares = []
    for _s, ks, y, ky, sy in reversed(pairs):
        share = np.float32(_inner(ks, q) / sy)
        shares.append(share)
        q, kq = q - share * y, kq - share * ky
    if pairs:
        _s, _ks, y, ky, sy = pairs[-1]
        scale = np.float32(sy / max(1e-12, _inner(y, ky)))
        q, kq = scale * q, scale * kq
    for (s, ks, _y, ky, sy), share in zip(pairs, reversed(shares), strict=True):
        back = share - np.float32(_inner(ky, q) / sy)
        q, kq = q + back * s, kq + back * ks
    return q, kq
