/** A line of the last minute, drawn small. It says nothing to a screen reader: the figure beside it does. */

import { draw } from "./dom.js";

/** Values kept: one a second. */
const KEPT = 60;
const WIDTH = 100;
const HEIGHT = 24;

export class Spark {
  #values = [];
  #line = draw("path", { class: "line", "vector-effect": "non-scaling-stroke" });
  #area = draw("path", { class: "area" });
  #drawn = "";
  #least;

  /** `least` is the least height of the scale: what stays below it does not fill the drawing. */
  constructor(least = 1) {
    this.#least = least;
    this.node = draw(
      "svg",
      { class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
      this.#area,
      this.#line,
    );
  }

  /** Takes the next value; null leaves a gap. */
  push(value) {
    this.#values.push(value);
    if (this.#values.length > KEPT) this.#values.shift();
  }

  clear() {
    this.#values = [];
    this.show();
  }

  show() {
    const top = Math.max(this.#least, ...this.#values.filter((value) => value !== null));
    const points = [];
    const first = KEPT - this.#values.length;
    this.#values.forEach((value, index) => {
      if (value === null) return;
      const x = ((first + index) * WIDTH) / (KEPT - 1);
      const y = HEIGHT - 1.5 - (value / top) * (HEIGHT - 3);
      points.push(`${x.toFixed(1)} ${y.toFixed(1)}`);
    });
    const line = points.length > 1 ? `M${points.join("L")}` : "";
    if (line === this.#drawn) return;
    this.#drawn = line;
    this.#line.setAttribute("d", line);
    const [left, right] = [points[0], points[points.length - 1]].map((point) => point?.split(" ")[0]);
    this.#area.setAttribute("d", line && `${line}L${right} ${HEIGHT}L${left} ${HEIGHT}Z`);
  }
}
