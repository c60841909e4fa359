// Two minutes of a dependency, drawn: attempts a second by how they ended, and how long answers took.

import { number, say, svg, time } from "./dom.js";

/** What is seen, in ms. */
export const WINDOW = 120000;
const STEP = 1000;
const SLOTS = WINDOW / STEP;
const WIDTH = 600;
const HEIGHT = 100;

/** How attempts end, from the bottom of the chart to its top. */
export const ENDS = ["ok", "refused", "failed", "unfinished"];

/** One value a second, of the last two minutes. */
export class Series {
  constructor() {
    this.seconds = new Map();
  }

  /** Takes what the server kept: arrays, oldest first. */
  fill(series) {
    if (!series) return;
    this.seconds.clear();
    const { from_ms: from, step_ms: step = STEP } = series;
    for (let nth = 0; nth < series.ok.length; nth++) {
      const second = { at_ms: from + nth * step };
      for (const name of [...ENDS, "p50_ms", "p99_ms", "bytes"]) second[name] = series[name]?.[nth] ?? null;
      this.add(second);
    }
  }

  add(second) {
    if (!second) return;
    this.seconds.set(Math.round(second.at_ms / STEP), second);
    if (this.seconds.size > SLOTS + 8) this.seconds.delete(Math.min(...this.seconds.keys()));
  }

  /** The seconds of the window that ends with the last whole second before `now`, oldest first; empty ones are null. */
  window(now) {
    const last = Math.floor(now / STEP) - 1;
    return Array.from({ length: SLOTS }, (_, nth) => this.seconds.get(last - SLOTS + 1 + nth) ?? null);
  }
}

export const total = (second) => ENDS.reduce((sum, name) => sum + (second?.[name] ?? 0), 0);
export const bad = (second) => (second?.failed ?? 0) + (second?.unfinished ?? 0) + (second?.refused ?? 0);

/** The next of 1, 2, 5, 10 … that is not less. */
function ceiling(value, least) {
  const wanted = Math.max(value, least);
  const power = 10 ** Math.floor(Math.log10(wanted));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= wanted * 0.999);
}

/** When faults of a run's phases were in force on a dependency, each a pair of moments. */
export function spansOfRun(run, name, now) {
  const begun = (run?.phases ?? []).filter((phase) => typeof phase.began_at_ms === "number");
  const spans = begun.map((phase, nth) => [phase, [phase.began_at_ms, begun[nth + 1]?.began_at_ms ?? now]]);
  return spans.filter(([phase]) => phase.faults.some((fault) => fault.on.includes(name))).map(([, span]) => span);
}

/** A chart: a frame with a grid, shades where a fault was in force, and what is drawn in it. */
class Chart {
  constructor(kind, names) {
    this.shades = svg("path", { class: "shade" });
    this.edges = svg("path", { class: "edge" });
    const grid = svg("path", { class: "grid", d: `M0 0H${WIDTH}M0 ${HEIGHT / 2}H${WIDTH}` });
    this.drawn = svg("svg", { class: `drawn ${kind}`, viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" }, this.shades, grid, this.edges);
    this.paths = {};
    for (const name of names) {
      this.paths[name] = svg("path", { class: name });
      this.drawn.append(this.paths[name]);
    }
    this.top = document.createElement("span");
    this.middle = document.createElement("span");
    const zero = document.createElement("span");
    zero.textContent = "0";
    this.marks = document.createElement("div");
    this.marks.className = "marks";
    this.marks.setAttribute("aria-hidden", "true");
    this.marks.append(this.top, this.middle, zero);
    this.plot = document.createElement("div");
    this.plot.className = `plot ${kind}`;
    this.plot.append(this.marks, this.drawn);
  }

  set(name, d) {
    const path = this.paths[name] ?? this[name];
    if (path.getAttribute("d") !== d) path.setAttribute("d", d);
  }

  /** Shades the spans, each a pair of moments. */
  shade(spans, now) {
    const x = (at) => (Math.min(1, Math.max(0, 1 - (now - at) / WINDOW)) * WIDTH).toFixed(1);
    const inside = spans.filter(([from, to]) => to > now - WINDOW && from < now);
    this.set("shades", inside.map(([from, to]) => `M${x(from)} 0H${x(to)}V${HEIGHT}H${x(from)}Z`).join(""));
    const edges = inside.flat().filter((at) => at > now - WINDOW && at < now);
    this.set("edges", edges.map((at) => `M${x(at)} 0V${HEIGHT}`).join(""));
  }
}

/** Attempts a second, stacked by how they ended. */
export class Attempts extends Chart {
  constructor() {
    super("attempts", ENDS.flatMap((name) => (name === "ok" ? [`layer ${name}`] : [`layer ${name}`, `mark ${name}`])));
  }

  draw(seconds) {
    const top = ceiling(Math.max(...seconds.map(total)), 2);
    say(this.top, number(top));
    say(this.middle, number(top / 2));
    const paths = Object.fromEntries(ENDS.map((name) => [name, []]));
    const step = WIDTH / SLOTS;
    seconds.forEach((second, nth) => {
      let below = 0;
      for (const name of ENDS) {
        const value = second?.[name] ?? 0;
        if (value === 0) continue;
        const y = HEIGHT * (1 - (below + value) / top);
        paths[name].push(`M${(nth * step + 0.4).toFixed(1)} ${y.toFixed(1)}h${(step - 0.8).toFixed(1)}v${((HEIGHT * value) / top).toFixed(1)}h${(0.8 - step).toFixed(1)}Z`);
        below += value;
      }
    });
    for (const name of ENDS) {
      const d = paths[name].join("");
      this.set(`layer ${name}`, d);
      if (name !== "ok") {
        this.set(`mark ${name}`, d);
        this.paths[`mark ${name}`].setAttribute("fill", `url(#mark-${name})`);
      }
    }
  }
}

/** How long answers took: the median, and the slowest of a hundred. */
export class Latency extends Chart {
  constructor() {
    super("latency", ["line p99", "line p50"]);
  }

  draw(seconds) {
    const values = seconds.flatMap((second) => [second?.p50_ms ?? 0, second?.p99_ms ?? 0]);
    const top = ceiling(Math.max(...values), 10);
    say(this.top, time(top));
    say(this.middle, "");
    for (const name of ["p50", "p99"]) this.set(`line ${name}`, line(seconds.map((second) => second?.[`${name}_ms`] ?? null), top));
  }
}

/** Bytes a second, where nothing else is known. */
export class Bytes extends Chart {
  constructor() {
    super("latency", ["line p50"]);
  }

  draw(seconds) {
    const top = ceiling(Math.max(...seconds.map((second) => second?.bytes ?? 0)), 1000);
    say(this.top, `${number(top / 1000)} kB`);
    say(this.middle, "");
    this.set("line p50", line(seconds.map((second) => second?.bytes ?? null), top));
  }
}

/** A line with a gap where there is no value; a value alone is a dash. */
function line(values, top) {
  const step = WIDTH / SLOTS;
  let d = "";
  values.forEach((value, nth) => {
    if (value === null) return;
    const y = (HEIGHT * (1 - value / top)).toFixed(1);
    const before = nth > 0 && values[nth - 1] !== null;
    const after = nth + 1 < values.length && values[nth + 1] !== null;
    const x = (nth + 0.5) * step;
    d += before ? `L${x.toFixed(1)} ${y}` : `M${(after ? x : x - step / 2).toFixed(1)} ${y}`;
    if (!before && !after) d += `h${step.toFixed(1)}`;
  });
  return d;
}
