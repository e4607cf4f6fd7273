/** How fast a total grows. */

/** Seconds that are looked back upon: short enough to be of now, long enough to be calm. */
const BACK = 5;

export class Meter {
  #samples = [];

  /** Takes a total at a time of the router's clock. Returns its growth in a second; null where that is not known yet. */
  take(total, now) {
    const last = this.#samples[this.#samples.length - 1];
    if (last && (total < last.total || now <= last.now)) this.#samples = [];
    this.#samples.push({ total, now });
    while (this.#samples.length > 2 && now - this.#samples[1].now >= BACK) this.#samples.shift();
    const first = this.#samples[0];
    return now > first.now ? (total - first.total) / (now - first.now) : null;
  }

  clear() {
    this.#samples = [];
  }
}
