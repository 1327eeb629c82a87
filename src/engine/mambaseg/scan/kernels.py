"""The scan as Triton kernels: three phases, so that the sequence is split over the whole GPU (SSD, arXiv 2405.21060).

    1  gains     each span's own contribution to the state at its end        grid: spans x batch x heads x ways
    2  carry     the state that enters each span, by a parallel scan         grid: batch x heads x ways x parts of a state
    3  outputs   what is read, inside chunks of Q steps and from the carry   grid: spans x batch x heads

A span is SUB chunks of Q steps. A sequence of one span needs only phase 3. A way is one direction of scanning; all
count time in their own order, in which a step `tau` lies in row `tau` or, backwards, in row `padded - 1 - tau`. So
spans of both ways cover the same rows, and phase 3 adds the ways up where it writes. Padding has dt = 0: no decay,
nothing enters.

The backward pass runs phases 1 and 2 for the state and for its adjoint R together, then one kernel for all gradients:

    R_t = C_t dy_t^T + exp(rate_{t+1}) R_{t+1}     g_t = R_t^T B_t
    dx_t = dt_t g_t    dB_t = dt_t R_t x_t    dC_t = S_t dy_t    ddt_t = x_t . g_t + A drate_t
    drate_t = sum over pairs of a writer before t and a reader from t on; across a chunk's end that is <S, R>

Letters: Q steps of a chunk, N state, P head dim, each rounded up to a power of two of at least 16, as tl.dot wants.
"""

import triton
import triton.language as tl


@triton.jit
def _rows(tau, padded, backwards):
    """The rows that hold the steps `tau` of a way."""
    return tl.where(backwards, padded - 1 - tau, tau)


@triton.jit
def _rates(dt, decay):
    """Log decay of each step, bounded below where exp has long vanished."""
    return tl.maximum(dt * decay, -20.0)


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
    LOW: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Phase 1. As the adjoint it runs against the way's time, with dy for x, C for B and no dt."""
    span, bh, way = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    batch, head = bh // heads, bh % heads
    backwards = tl.where(way == 0, BACK0, BACK1)
    padded = spans * SUB * Q
    n, p, q = tl.arange(0, N), tl.arange(0, P), tl.arange(0, Q)
    decay = tl.load(a_ptr + batch * a_b + way * a_w + head * a_h)
    x_base = x_ptr + batch.to(tl.int64) * x_b + head * x_h
    b_base = b_ptr + batch.to(tl.int64) * b_b
    dt_base = dt_ptr + batch.to(tl.int64) * dt_b + way * dt_w + head * dt_h
    gain = tl.zeros([N, P], tl.float32)
    log = 0.0
    for sub in range(SUB):
        at = SUB - 1 - sub if ADJOINT else sub
        tau = (span * SUB + at) * Q + q
        rows = _rows(tau, padded, backwards)
        dt = tl.load(dt_base + rows.to(tl.int64) * dt_l, mask=rows < length, other=0.0)
        rate = _rates(dt, decay)
        total = tl.cumsum(rate, 0)
        all_of_it = tl.sum(rate, 0)
        x = _matrix(x_base, rows, x_l, p, length, dim)
        b = _matrix(b_base, rows, b_l, n, length, state)
        # Until the chunk's end for the state; from its start, this step's own decay included, for the adjoint.
        weight = tl.exp(total) if ADJOINT else tl.exp(all_of_it - total) * dt
        weighted = b.to(tl.float32) * weight[:, None]
        if LOW:
            own = tl.dot(tl.trans(weighted.to(x.dtype)), x)
        else:
            own = tl.dot(tl.trans(weighted), x.to(tl.float32), input_precision=PRECISION)
        gain = gain * tl.exp(all_of_it) + own
        log += all_of_it
    place = ((batch * ways + way) * spans + span) * heads + head
    base = state_ptr + place.to(tl.int64) * (N * P)
    tl.store(base + n[:, None] * P + p[None, :], gain)
    tl.store(log_ptr + place, log)


@triton.jit
def _join(log_one, state_one, log_two, state_two):
    """First one stretch of time, then the other."""
    return log_one + log_two, state_one * tl.exp(log_two) + state_two


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
        log = tl.load(log_ptr + place, mask=inside, other=0.0)
        where = state_ptr + place[:, None] * SIZE + element[None, :]
        gain = tl.load(where, mask=inside[:, None], other=0.0)
        wide = tl.broadcast_to(log[:, None], [SPANS, PART])
        logs, after = tl.associative_scan((wide, gain), 0, _join)
        after += tl.exp(logs) * before[None, :]
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
    Q: tl.constexpr, SUB: tl.constexpr, N: tl.constexpr, P: tl.constexpr,
    LOW: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Phase 3. ALONE: one span is the whole sequence, so that nothing enters it."""
    here, bh = tl.program_id(0), tl.program_id(1)
    batch, head = bh // heads, bh % heads
    padded = spans * SUB * Q
    n, p, q = tl.arange(0, N), tl.arange(0, P), tl.arange(0, Q)
    x_base = x_ptr + batch.to(tl.int64) * x_b + head * x_h
    y_base = y_ptr + batch.to(tl.int64) * y_b + head * y_h
    b_base = b_ptr + batch.to(tl.int64) * b_b
    c_base = c_ptr + batch.to(tl.int64) * c_b
    for way in tl.static_range(WAYS):
        backwards = BACK0 if way == 0 else BACK1
        span = spans - 1 - here if backwards else here
        decay = tl.load(a_ptr + batch * a_b + way * a_w + head * a_h)
        dt_base = dt_ptr + batch.to(tl.int64) * dt_b + way * dt_w + head * dt_h
        if ALONE:
            entering = tl.zeros([N, P], tl.float32)
        else:
            place = ((batch * WAYS + way) * spans + span) * heads + head
            entering = tl.load(state_ptr + place.to(tl.int64) * (N * P) + n[:, None] * P + p[None, :])
        for sub in range(SUB):
            tau = (span * SUB + sub) * Q + q
            rows = _rows(tau, padded, backwards)
            dt = tl.load(dt_base + rows.to(tl.int64) * dt_l, mask=rows < length, other=0.0)
            rate = _rates(dt, decay)
            total = tl.cumsum(rate, 0)
            all_of_it = tl.sum(rate, 0)
            x = _matrix(x_base, rows, x_l, p, length, dim)
            b = _matrix(b_base, rows, b_l, n, length, state)
            c = _matrix(c_base, rows, c_l, n, length, state)
            difference = total[:, None] - total[None, :]
            # Masked before exp: later steps would overflow.
            decays = tl.exp(tl.where(q[:, None] >= q[None, :], difference, float("-inf"))) * dt[None, :]
            carried = tl.exp(total)[:, None]
            until_end = (tl.exp(all_of_it - total) * dt)[:, None]
            if LOW:
                met = tl.dot(c, tl.trans(b)) * decays
                y = tl.dot(met.to(x.dtype), x)
                y += tl.dot(c, entering.to(x.dtype)) * carried
                own = tl.dot(tl.trans((b.to(tl.float32) * until_end).to(x.dtype)), x)
            else:
                x, b, c = x.to(tl.float32), b.to(tl.float32), c.to(tl.float32)
                met = tl.dot(c, tl.trans(b), input_precision=PRECISION) * decays
                y = tl.dot(met, x, input_precision=PRECISION)
                y += tl.dot(c, entering, input_precision=PRECISION) * carried
                own = tl.dot(tl.trans(b * until_end), x, input_precision=PRECISION)
            entering = entering * tl.exp(all_of_it) + own
            where = y_base + rows[:, None].to(tl.int64) * y_l + p[None, :]
            inside = (rows[:, None] < length) & (p[None, :] < dim)
            if way > 0:
                y += tl.load(where, mask=inside, other=0.0).to(tl.float32)
            tl.store(where, y.to(y_ptr.dtype.element_ty), mask=inside)
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
            rate = _rates(dt, decay)
            total = tl.cumsum(rate, 0)
            all_of_it = tl.sum(rate, 0)
            x = _matrix(x_ptr + batch.to(tl.int64) * x_b + head * x_h, rows, x_l, p, length, dim)
            dy = _matrix(dy_ptr + batch.to(tl.int64) * y_b + head * y_h, rows, y_l, p, length, dim)
            place = ((batch * WAYS + way) * spans + span) * HEADS + head
            tile = place.to(tl.int64) * (N * P) + n[:, None] * P + p[None, :]
            entering = tl.load(state_ptr + tile)
            leaving = tl.load(adjoint_ptr + tile)
            difference = total[:, None] - total[None, :]
            decays = tl.exp(tl.where(q[:, None] >= q[None, :], difference, float("-inf")))
            carried, until_end = tl.exp(total), tl.exp(all_of_it - total)
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
            gained = tl.trans(b.to(tl.float32) * (until_end * dt)[:, None])
            own = tl.dot(gained, x, input_precision=PRECISION)
            dc += from_entering
            db += from_leaving
            # Pairs that a step's decay lies between: readers from it on less writers from it on, and those who cross
            # the chunk's end both ways, <S, R>.
            pairs = cb * decays * dt[None, :] * pair
            reads = tl.sum(pairs, 1) + tl.sum(from_entering * c.to(tl.float32), 1)
            writes = tl.sum(pairs, 0) + tl.sum(from_leaving * b.to(tl.float32), 1)
            balance = reads - writes
            after = entering * tl.exp(all_of_it) + own
            crossing = tl.sum(tl.sum(after * leaving, 1), 0)
            d_rate = tl.sum(balance, 0) - tl.cumsum(balance, 0) + balance + crossing
            d_rate = tl.where(dt * decay > -20.0, d_rate, 0.0)
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
