"""The scan as Triton kernels: three phases, so that the sequence is split over the whole GPU (SSD, arXiv 2405.21060).

    1  gains     each span's own contribution to the state at its end        grid: spans x heads, batch, ways
    2  carry     the state that enters each span, by a parallel scan         grid: batch x ways, heads, parts of a state
    3  outputs   what is read, inside chunks of Q steps and from the carry   grid: spans x groups of heads, batch

Heads of a span run side by side, as they share its rows; phase 3 begins where phase 1 ended, which the cache still
holds.

A span is SUB chunks of Q steps. A sequence of one span needs only phase 3. A way is one direction of scanning; all
count time in their own order, in which a step `tau` lies in row `tau` or, backwards, in row `padded - 1 - tau`. So
spans of both ways cover the same rows, and phase 3 adds the ways up where it writes. Padding has dt = 0: no decay,
nothing enters.

The backward pass runs phases 1 and 2 for the state and for its adjoint R together, then one kernel for all gradients:

    R_t = C_t dy_t^T + exp(rate_{t+1}) R_{t+1}     g_t = R_t^T B_t
    dx_t = dt_t g_t    dB_t = dt_t R_t x_t    dC_t = S_t dy_t    ddt_t = x_t . g_t + A drate_t
    drate_t = sum over pairs of a writer before t and a reader from t on; across a chunk's end that is <S, R>

Rates are logarithms to the base 2, which is what the GPU exponentiates; a step's dt enters the same exponent as its
logarithm. EVEN says that no tile hangs over an edge, so that nothing needs a mask.

Letters: Q steps of a chunk, N state, P head dim, each rounded up to a power of two of at least 16, as tl.dot wants.
"""

import os

import triton
import triton.language as tl
from triton.language.extra.cuda import libdevice

LOG2E = tl.constexpr(1.4426950408889634)
FLOOR = tl.constexpr(-28.0)
"""Bound of a step's rate: exp has long vanished there (2^-28, squared with every further step)."""
LEAST = tl.constexpr(1e-37)
"""Bound of dt before its logarithm; padding, where dt is 0, is thereby multiplied with next to nothing."""

_INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")
"""Triton's interpreter, which runs these kernels without a GPU, has no libdevice."""


@triton.jit
def _exp2(x):
    """2^x in one instruction; tl.exp2 spends three more on results too small to be normal."""
    return tl.exp2(x) if _INTERPRETED else libdevice.exp2(x)


@triton.jit
def _rows(tau, padded, backwards):
    """The rows that hold the steps `tau` of a way."""
    return tl.where(backwards, padded - 1 - tau, tau)


@triton.jit
def _steps(at, inside, EVEN: tl.constexpr):
    """Load one number for each step; 0 outside."""
    return tl.load(at) if EVEN else tl.load(at, mask=inside, other=0.0)


@triton.jit
def _tile(at, inside, columns, width, EVEN: tl.constexpr):
    """Load a row for each step; 0 outside."""
    if EVEN:
        return tl.load(at)
    return tl.load(at, mask=inside[:, None] & (columns[None, :] < width), other=0.0)


@triton.jit
def _matrix(base, rows, row_stride, columns, length, width):
    """Load a tile [rows, columns] of a matrix whose rows are contiguous; 0 outside."""
    inside = (rows[:, None] < length) & (columns[None, :] < width)
    return tl.load(base + rows[:, None].to(tl.int64) * row_stride + columns[None, :], mask=inside, other=0.0)


@triton.jit
def gains(
    x_ptr, dt_ptr, a_ptr, b_ptr, state_ptr, log_ptr,
    x_b, x_l, x_h, dt_b, dt_l, dt_w, dt_h, a_b, a_w, a_h, b_b, b_l,
    length, spans, heads, ways, state, dim,
    ADJOINT: tl.constexpr, BACK0: tl.constexpr, BACK1: tl.constexpr,
    Q: tl.constexpr, SUB: tl.constexpr, N: tl.constexpr, P: tl.constexpr,
    LOW: tl.constexpr, PRECISION: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Phase 1. As the adjoint it runs against the way's time, with dy for x, C for B and no dt."""
    here, batch, way = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    span, head = here // heads, here % heads
    backwards = tl.where(way == 0, BACK0, BACK1)
    sign = tl.where(backwards, -1, 1)
    n, p, q = tl.arange(0, N), tl.arange(0, P), tl.arange(0, Q)
    # Addresses of the span's first step; from there all offsets are small.
    first = _rows(span * SUB * Q, spans * SUB * Q, backwards)
    lead, item = first.to(tl.int64), batch.to(tl.int64)
    x_at = x_ptr + item * x_b + head * x_h + lead * x_l + (q * sign)[:, None] * x_l + p[None, :]
    b_at = b_ptr + item * b_b + lead * b_l + (q * sign)[:, None] * b_l + n[None, :]
    dt_at = dt_ptr + item * dt_b + way * dt_w + head * dt_h + lead * dt_l + (q * sign) * dt_l
    decay = tl.load(a_ptr + batch * a_b + way * a_w + head * a_h) * LOG2E
    gain = tl.zeros([N, P], tl.float32)
    log = 0.0
    for sub in range(SUB):
        at = (SUB - 1 - sub if ADJOINT else sub) * (sign * Q)
        inside = first + at + q * sign < length
        dt = _steps(dt_at + at * dt_l, inside, EVEN)
        x = _tile(x_at + at * x_l, inside, p, dim, EVEN)
        b = _tile(b_at + at * b_l, inside, n, state, EVEN)
        rate = tl.maximum(dt * decay, FLOOR)
        total = tl.cumsum(rate, 0)
        all_of_it = tl.sum(rate, 0)
        # Until the chunk's end for the state; from its start, this step's own decay included, for the adjoint.
        weight = _exp2(total) if ADJOINT else _exp2(all_of_it - total) * dt
        weighted = b.to(tl.float32) * weight[:, None]
        gain = gain * _exp2(all_of_it)
        if LOW:
            gain = tl.dot(tl.trans(weighted.to(x.dtype)), x, acc=gain)
        else:
            gain = tl.dot(tl.trans(weighted), x.to(tl.float32), acc=gain, input_precision=PRECISION)
        log += all_of_it
    place = ((batch * ways + way) * spans + span) * heads + head
    base = state_ptr + place.to(tl.int64) * (N * P)
    tl.store(base + n[:, None] * P + p[None, :], gain)
    tl.store(log_ptr + place, log)


@triton.jit
def _join(decay_one, state_one, decay_two, state_two):
    """First one stretch of time, then the other."""
    return decay_one * decay_two, state_one * decay_two + state_two


@triton.jit
def carry(
    state_ptr, log_ptr, spans, heads,
    ADJOINT: tl.constexpr, SIZE: tl.constexpr, SPANS: tl.constexpr, PART: tl.constexpr,
):  # fmt: skip
    """Phase 2, in place: from each span's gain to the state that enters it (for the adjoint: that leaves it)."""
    bw, head, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    element = part * PART + tl.arange(0, PART)
    step = tl.arange(0, SPANS)
    before = tl.zeros([PART], tl.float32)
    first = 0
    while first < spans:  # Not range: Triton's interpreter cannot run it to a number that is no constant.
        count = first + step
        span = spans - 1 - count if ADJOINT else count
        inside = count < spans
        place = ((bw * spans + span) * heads + head).to(tl.int64)
        decay = _exp2(tl.load(log_ptr + place, mask=inside, other=0.0))
        where = state_ptr + place[:, None] * SIZE + element[None, :]
        gain = tl.load(where, mask=inside[:, None], other=0.0)
        wide = tl.broadcast_to(decay[:, None], [SPANS, PART])
        decays, after = tl.associative_scan((wide, gain), 0, _join)
        after += decays * before[None, :]
        # Entering is what was there after the span before: shift by one, through memory.
        last = tl.sum(tl.where(step[:, None] == SPANS - 1, after, 0.0), 0)
        following = count + 1
        span_after = spans - 1 - following if ADJOINT else following
        place_after = ((bw * spans + span_after) * heads + head).to(tl.int64)
        tl.debug_barrier()
        keep = (following < spans) & (step < SPANS - 1)
        tl.store(state_ptr + place_after[:, None] * SIZE + element[None, :], after, mask=keep[:, None])
        tl.store(where, tl.broadcast_to(before[None, :], [SPANS, PART]), mask=(inside & (step == 0))[:, None])
        before = last
        first += SPANS


@triton.jit
def outputs(
    x_ptr, dt_ptr, a_ptr, b_ptr, c_ptr, state_ptr, y_ptr,
    x_b, x_l, x_h, dt_b, dt_l, dt_w, dt_h, a_b, a_w, a_h, b_b, b_l, c_b, c_l, y_b, y_l, y_h,
    length, spans, heads, state, dim,
    WAYS: tl.constexpr, BACK0: tl.constexpr, BACK1: tl.constexpr, ALONE: tl.constexpr,
    Q: tl.constexpr, SUB: tl.constexpr, N: tl.constexpr, P: tl.constexpr, TOGETHER: tl.constexpr,
    LOW: tl.constexpr, PRECISION: tl.constexpr, EVEN: tl.constexpr,
):  # fmt: skip
    """Phase 3. ALONE: one span is the whole sequence, so that nothing enters it. TOGETHER heads share B and C."""
    groups = heads // TOGETHER
    program = tl.program_id(0)
    here, head = spans - 1 - program // groups, (program % groups) * TOGETHER
    batch = tl.num_programs(1) - 1 - tl.program_id(1)
    n, p, q = tl.arange(0, N), tl.arange(0, P), tl.arange(0, Q)
    item = batch.to(tl.int64)
    for way in tl.static_range(WAYS):
        backwards = BACK0 if way == 0 else BACK1
        sign = -1 if backwards else 1
        span = spans - 1 - here if backwards else here
        first = _rows(span * SUB * Q, spans * SUB * Q, backwards)
        lead = first.to(tl.int64)
        row = (q * sign)[:, None]
        x_at = x_ptr + item * x_b + head * x_h + lead * x_l + row * x_l + p[None, :]
        b_at = b_ptr + item * b_b + lead * b_l + row * b_l + n[None, :]
        c_at = c_ptr + item * c_b + lead * c_l + row * c_l + n[None, :]
        y_at = y_ptr + item * y_b + head * y_h + lead * y_l + row * y_l + p[None, :]
        dt_at = dt_ptr + item * dt_b + way * dt_w + head * dt_h + lead * dt_l + (q * sign) * dt_l
        place = ((batch * WAYS + way) * spans + span) * heads + head
        decays = ()
        entering = ()
        for one in tl.static_range(TOGETHER):
            decays += (tl.load(a_ptr + batch * a_b + way * a_w + (head + one) * a_h) * LOG2E,)
            if ALONE:
                entering += (tl.zeros([N, P], tl.float32),)
            else:
                tile = state_ptr + (place + one).to(tl.int64) * (N * P)
                entering += (tl.load(tile + n[:, None] * P + p[None, :]),)
        for sub in range(SUB):
            at = sub * (sign * Q)
            inside = first + at + q * sign < length
            b = _tile(b_at + at * b_l, inside, n, state, EVEN)
            c = _tile(c_at + at * c_l, inside, n, state, EVEN)
            if not LOW:
                b, c = b.to(tl.float32), c.to(tl.float32)
            met = tl.dot(c, tl.trans(b), input_precision=PRECISION)
            leaving = ()
            for one in tl.static_range(TOGETHER):
                dt = _steps(dt_at + one * dt_h + at * dt_l, inside, EVEN)
                x = _tile(x_at + one * x_h + at * x_l, inside, p, dim, EVEN)
                if not LOW:
                    x = x.to(tl.float32)
                rate = tl.maximum(dt * decays[one], FLOOR)
                total = tl.cumsum(rate, 0)
                all_of_it = tl.sum(rate, 0)
                enters = tl.log2(tl.maximum(dt, LEAST))
                difference = total[:, None] - (total - enters)[None, :]
                # Masked before exp: later steps would overflow.
                weighed = met * _exp2(tl.where(q[:, None] >= q[None, :], difference, float("-inf")))
                y = tl.dot(c, entering[one].to(c.dtype), input_precision=PRECISION) * _exp2(total)[:, None]
                y = tl.dot(weighed.to(x.dtype), x, acc=y, input_precision=PRECISION)
                until_end = b.to(tl.float32) * _exp2(all_of_it - total + enters)[:, None]
                kept = entering[one] * _exp2(all_of_it)
                leaving += (tl.dot(tl.trans(until_end.to(x.dtype)), x, acc=kept, input_precision=PRECISION),)
                where = y_at + one * y_h + at * y_l
                if way > 0:
                    y += _tile(where, inside, p, dim, EVEN).to(tl.float32)
                if EVEN:
                    tl.store(where, y.to(y_ptr.dtype.element_ty))
                else:
                    tl.store(where, y.to(y_ptr.dtype.element_ty), mask=inside[:, None] & (p[None, :] < dim))
            entering = leaving
        if WAYS > 1:
            tl.debug_barrier()  # The next way adds to what this one wrote.


@triton.jit
def gradients(
    x_ptr, dt_ptr, a_ptr, b_ptr, c_ptr, dy_ptr, state_ptr, adjoint_ptr,
    dx_ptr, ddt_ptr, da_ptr, db_ptr, dc_ptr,
    x_b, x_l, x_h, dt_b, dt_l, dt_w, dt_h, a_b, a_w, a_h, b_b, b_l, c_b, c_l, y_b, y_l, y_h,
    length, spans, state, dim,
    HEADS: tl.constexpr, WAYS: tl.constexpr, BACK0: tl.constexpr, BACK1: tl.constexpr,
    Q: tl.constexpr, N: tl.constexpr, P: tl.constexpr,
    LOW: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All gradients of one chunk, for all heads and ways; spans are single chunks here."""
    here, batch = tl.program_id(0), tl.program_id(1)
    padded = spans * Q
    n, p, q = tl.arange(0, N), tl.arange(0, P), tl.arange(0, Q)
    b_base = b_ptr + batch.to(tl.int64) * b_b
    c_base = c_ptr + batch.to(tl.int64) * c_b
    earlier = tl.where(q[:, None] < q[None, :], 1.0, 0.0)
    for way in tl.static_range(WAYS):
        backwards = BACK0 if way == 0 else BACK1
        span = spans - 1 - here if backwards else here
        rows = _rows(span * Q + q, padded, backwards)
        row_inside = rows < length
        b = _matrix(b_base, rows, b_l, n, length, state)
        c = _matrix(c_base, rows, c_l, n, length, state)
        if LOW:
            cb = tl.dot(c, tl.trans(b))
        else:
            b, c = b.to(tl.float32), c.to(tl.float32)
            cb = tl.dot(c, tl.trans(b), input_precision=PRECISION)
        db = tl.zeros([Q, N], tl.float32)
        dc = tl.zeros([Q, N], tl.float32)
        for head in range(HEADS):
            decay = tl.load(a_ptr + batch * a_b + way * a_w + head * a_h)
            dt_at = dt_ptr + batch.to(tl.int64) * dt_b + way * dt_w + head * dt_h + rows.to(tl.int64) * dt_l
            dt = tl.load(dt_at, mask=row_inside, other=0.0)
            rate = tl.maximum(dt * decay * LOG2E, FLOOR)
            total = tl.cumsum(rate, 0)
            all_of_it = tl.sum(rate, 0)
            x = _matrix(x_ptr + batch.to(tl.int64) * x_b + head * x_h, rows, x_l, p, length, dim)
            dy = _matrix(dy_ptr + batch.to(tl.int64) * y_b + head * y_h, rows, y_l, p, length, dim)
            place = ((batch * WAYS + way) * spans + span) * HEADS + head
            tile = place.to(tl.int64) * (N * P) + n[:, None] * P + p[None, :]
            entering = tl.load(state_ptr + tile)
            leaving = tl.load(adjoint_ptr + tile)
            if LOW:
                difference = total[:, None] - total[None, :]
            else:  # Summed from one step to the other: after fast steps the totals have lost a slow one's digits.
                later = tl.where(q[:, None] > q[None, :], rate[:, None], 0.0)
                difference = tl.dot(1.0 - earlier, later, input_precision=PRECISION)
            decays = _exp2(tl.where(q[:, None] >= q[None, :], difference, float("-inf")))
            carried, until_end = _exp2(total), _exp2(all_of_it - total)
            if LOW:
                low = x.dtype
                met = cb * decays
                pair = tl.dot(dy, tl.trans(x))
                weighed = (pair * decays * dt[None, :]).to(low)
                g = tl.dot(tl.trans(met.to(low)), dy) + tl.dot(b, leaving.to(low)) * until_end[:, None]
                dc += tl.dot(weighed, b)
                db += tl.dot(tl.trans(weighed), c)
                x, dy = x.to(tl.float32), dy.to(tl.float32)
            else:
                x, dy = x.to(tl.float32), dy.to(tl.float32)
                met = cb * decays
                pair = tl.dot(dy, tl.trans(x), input_precision=PRECISION)
                weighed = pair * decays * dt[None, :]
                g = tl.dot(tl.trans(met), dy, input_precision=PRECISION)
                g += tl.dot(b, leaving, input_precision=PRECISION) * until_end[:, None]
                dc += tl.dot(weighed, b, input_precision=PRECISION)
                db += tl.dot(tl.trans(weighed), c, input_precision=PRECISION)
            # The gradient of a decay is a small difference of large sums: these parts of it are never rounded.
            from_entering = tl.dot(dy, tl.trans(entering), input_precision=PRECISION) * carried[:, None]
            from_leaving = tl.dot(x, tl.trans(leaving), input_precision=PRECISION) * (until_end * dt)[:, None]
            dc += from_entering
            db += from_leaving
            # A step's decay lies between a writer before it and a reader from it on: both in the chunk, one of them,
            # or none. Each kind is summed pair by pair; as a difference of sums over all readers and all writers, the
            # gradients of fast decays would be lost among far larger terms.
            pairs = tl.where(q[:, None] > q[None, :], cb * decays * dt[None, :] * pair, 0.0)
            before = tl.dot(pairs, earlier, input_precision=PRECISION)  # of each reader: what was written before a step
            between = tl.sum(tl.where(q[:, None] >= q[None, :], before, 0.0), 0)
            reads = tl.sum(from_entering * c.to(tl.float32), 1)
            writes = tl.sum(from_leaving * b.to(tl.float32), 1)
            between += tl.sum(tl.where(q[:, None] >= q[None, :], reads[:, None], 0.0), 0)
            between += tl.sum(earlier * writes[:, None], 0)
            d_rate = between + tl.sum(tl.sum(entering * leaving, 1), 0) * _exp2(all_of_it)
            d_rate = tl.where(dt * decay * LOG2E > FLOOR, d_rate, 0.0)
            direct = tl.sum(x * g, 1)
            at = (batch.to(tl.int64) * length + rows) * (WAYS * HEADS) + way * HEADS + head
            tl.store(ddt_ptr + at, decay * d_rate + direct, mask=row_inside)
            tl.store(da_ptr + place, tl.sum(d_rate * dt, 0))
            dx = g * dt[:, None]
            dx_at = ((batch.to(tl.int64) * length + rows) * HEADS + head)[:, None] * dim + p[None, :]
            dx_inside = row_inside[:, None] & (p[None, :] < dim)
            if way > 0:
                dx += tl.load(dx_ptr + dx_at, mask=dx_inside, other=0.0)
            tl.store(dx_ptr + dx_at, dx, mask=dx_inside)
        where = (batch.to(tl.int64) * length + rows)[:, None] * state + n[None, :]
        inside = row_inside[:, None] & (n[None, :] < state)
        if way > 0:
            db += tl.load(db_ptr + where, mask=inside, other=0.0)
            dc += tl.load(dc_ptr + where, mask=inside, other=0.0)
        tl.store(db_ptr + where, db, mask=inside)
        tl.store(dc_ptr + where, dc, mask=inside)
        if WAYS > 1:
            tl.debug_barrier()
