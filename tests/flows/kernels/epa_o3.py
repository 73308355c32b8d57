"""EPA's NowCast of ozone in plain Python, and air to try it on."""

import math

import numpy as np

from flows.kernels.nowcast_o3 import LOOKBACK

NA = math.nan
STEP = 1e-15  # ppm: so little may it be off; 3e-17 was found, and the AQI takes 0.001


def air(hours=LOOKBACK, seed=0, stations=1):
    """Hours that look recorded: a day's rise and fall, weather that drifts, whole ppb, nights at zero."""
    rng = np.random.default_rng(seed)
    sun = 18 * np.sin((np.arange(hours) - 9) / 24 * 2 * np.pi)
    drift = rng.normal(0, 3, (stations, hours))
    for hour in range(1, hours):
        drift[:, hour] += 0.95 * drift[:, hour - 1]
    return np.round(np.maximum(30 + sun + drift, 0)) / 1000


def gappy(hours, share, seed=0):
    """The same with hours missing, mostly a few in a row."""
    rng = np.random.default_rng(seed)
    out = hours.copy()
    for row in out:
        for start in np.flatnonzero(rng.random(row.size) < share / 3):
            row[start : start + rng.integers(1, 6)] = NA
    return out


def pls(rows, target, new, parts):
    """Partial least squares as R's ``mvr`` does it (Dayal and MacGregor 1997): predict for ``new`` from components."""
    centre, level = rows.mean(axis=0), target.mean()
    rows, left = rows - centre, (rows - centre).T @ (target - level)
    weights, turned, loadings = np.zeros(rows.shape[1]), [], []
    for _ in range(parts):
        turn = left / np.linalg.norm(left)
        if turned:
            turn = turn - (np.array(loadings) @ turn) @ np.array(turned)
        score = rows @ turn
        size = score @ score
        loading, load = score @ rows / size, left @ turn / size
        left = left - size * load * loading
        weights += load * turn
        turned.append(turn)
        loadings.append(loading)
    return level + (new - centre) @ weights


def fine(rows, target, new):
    """Ordinary least squares with an intercept in extended precision, by Gram and Schmidt's method, twice over."""
    rows, new = rows.astype(np.longdouble), new.astype(np.longdouble)
    target, predicted = target.astype(np.longdouble), np.longdouble(0)
    basis = np.column_stack([np.ones(len(rows), np.longdouble), rows])
    at = np.concatenate([[np.longdouble(1)], new])
    for column in range(basis.shape[1]):
        for _ in range(2):
            along = basis[:, :column].T @ basis[:, column]
            basis[:, column] -= basis[:, :column] @ along
            at[column] -= at[:column] @ along
        size = np.sqrt(basis[:, column] @ basis[:, column])
        basis[:, column] /= size
        at[column] /= size
        load = basis[:, column] @ target
        target = target - load * basis[:, column]
        predicted += load * at[column]
    return float(predicted)


def plain_filled(window):
    """Read imputation off imputeTS's manual: the window grows by an hour on both sides until two are in it."""
    out = list(window)
    for i, hour in enumerate(window):
        if math.isnan(hour):
            k = 4
            while True:
                near = {j: window[j] for j in range(max(i - k, 0), min(i + k + 1, len(window)))}
                near = {j: v for j, v in near.items() if not math.isnan(v)}
                if len(near) >= 2:
                    break
                k += 1
            total = math.fsum(2.0 ** -abs(i - j) for j in near)
            out[i] = math.fsum(v * 2.0 ** -abs(i - j) for j, v in near.items()) / total
    return out


def plain(series, fit=pls, **how):
    """EPA's code line by line, of the newest hour of one station, which is a list."""
    window = ([NA] * 336 + list(series))[-336:]
    gone = [math.isnan(hour) for hour in window]
    longest = max(len(run) for run in "".join("x" if g else " " for g in gone).split(" "))
    if sum(gone) > 84 or longest > 7:
        last = [hour for hour in window[-3:] if not math.isnan(hour)]
        return last[-1] * 0.85 + 0.0045 if last else NA
    if not any(hour > 0 for hour in window):
        return 0.0
    if gone[-1]:
        back = next((back for back in (1, 2) if not gone[-1 - back]), None)
        return plain(series[:-back], fit, **how) if back else NA
    means = []
    for t in range(336):
        around = [h for h in window[max(t - 4, 0) : t + 4] if not math.isnan(h)]
        means.append(math.fsum(around) / len(around) if 4 <= t < 333 and len(around) >= 6 else NA)
    if sum(map(math.isnan, means[95:])) / 241 > 0.25:
        return NA
    filled = np.array(plain_filled(window))
    kept = [t for t in range(95, 336) if not math.isnan(means[t])]
    rows = np.array([filled[t - 95 : t + 1] for t in kept])
    return max(float(fit(rows, np.array([means[t] for t in kept]), filled[-96:], **how)), 0.0)
