/** Who is slow beside those who do the same: first-byte times, each held against the median of its role. */

/** A worker is slow from this many times the median on, */
const TIMES = 2;
/** and by so many seconds at least: twice of nothing is nothing. */
const SECS = 0.1;

/** By url, `{factor, median}` of the workers that are slow. */
export function slow(rows) {
  const found = new Map();
  for (const role of new Set(rows.map((row) => row.role))) {
    const measured = rows.filter((row) => row.role === role && row.first_byte);
    const middle = median(measured.map((row) => row.first_byte.p50));
    for (const row of measured) {
      const secs = row.first_byte.p50;
      if (secs >= TIMES * middle && secs - middle >= SECS) {
        found.set(row.url, { factor: secs / Math.max(middle, 0.001), median: middle });
      }
    }
  }
  return found;
}

/** Of two in the middle the lower: of two workers the slow one is seen. */
export function median(values) {
  const sorted = [...values].sort((one, other) => one - other);
  return sorted.length ? sorted[Math.floor((sorted.length - 1) / 2)] : null;
}
