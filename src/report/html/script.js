// A cursor and a zoom, shared by all charts of a scenario. Everything to be read is on the page
// without this: it draws nothing, it only moves what was drawn.
"use strict";
(() => {
  document.documentElement.classList.add("scripted");

  const make = (name, attributes, ...children) => {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...children);
    return element;
  };

  /** Seconds as everywhere in the report: 250ms, 12.5s, 1m30s. */
  const time = (seconds) => {
    const trim = (value) => String(Math.round(value * 1000) / 1000);
    if (seconds === 0) return "0s";
    if (seconds < 0.001) return trim(seconds * 1e6) + "us";
    if (seconds < 1) return trim(seconds * 1000) + "ms";
    if (seconds < 60) return trim(seconds) + "s";
    const minutes = Math.floor(seconds / 60 + 1e-9);
    const rest = Math.round((seconds - minutes * 60) * 1000) / 1000;
    return minutes + "m" + (rest > 0 ? trim(rest) + "s" : "");
  };

  const STEPS = [0.5, 1, 2, 5, 10, 15, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 14400, 86400];

  const enliven = (part) => {
    const data = JSON.parse(part.querySelector("script.data").textContent);
    // What follows itself several times is written once, with how often.
    const lengthen = (one) => Array.isArray(one) ? Array(one[1]).fill(one[0]) : one;
    for (const chart of data.charts) chart.series = chart.series.map((values) => values.flatMap(lengthen));
    const drawings = part.querySelectorAll("svg.drawn");
    const patterns = part.querySelectorAll("pattern");
    const areas = [...part.querySelectorAll(".area")];
    const axes = part.querySelectorAll(".axis");
    const bands = part.querySelectorAll(".bands li");
    const whole = data.bins;
    const least = Math.min(4, whole);
    let from = 0, to = whole, cursor = null;

    const phaseAt = (seconds) => {
      let found = -1;
      data.phases.forEach(([began], place) => { if (began <= seconds) found = place; });
      return found < 0 ? "" : ` · ${found + 1} ${data.phases[found][2]}`;
    };

    const value = (unit, number) => {
      if (number === null || number === undefined) return "–";
      if (unit === "rate") return Math.round(number / data.bin * 100) / 100 + "/s";
      if (unit === "ms") return time(number / 1000);
      return String(number);
    };

    // The tools.
    const slider = make("input", { type: "range", min: 0, max: whole - 1, step: 1, value: 0, "aria-label": "moment to read" });
    const told = make("output", {});
    const stretch = make("select", { "aria-label": "stretch to look at" }, make("option", { value: "" }, "Whole run"));
    data.phases.forEach(([, , name], place) => {
      stretch.append(make("option", { value: place }, `${place + 1} ${name}`));
    });
    const closer = make("button", { type: "button" }, "Closer");
    const wider = make("button", { type: "button" }, "Wider");
    const all = make("button", { type: "button" }, "Whole run");
    part.querySelector(".strip").prepend(
      make("div", { class: "tools", role: "group", "aria-label": "cursor and zoom of all charts" },
        slider, told, stretch, closer, wider, all));

    const lines = areas.map((area) => {
      const line = make("i", { class: "cursor", hidden: "" });
      area.append(line);
      return line;
    });

    const show = () => {
      const wide = to - from;
      for (const svg of drawings) svg.setAttribute("viewBox", `${from} 0 ${wide} 200`);
      for (const pattern of patterns) pattern.setAttribute("patternTransform", `scale(${wide / whole},1)`);
      for (const band of bands) {
        const left = Math.max((band.dataset.from - from) / wide, 0);
        const right = Math.min((band.dataset.to - from) / wide, 1);
        band.hidden = right - left < 0.002;
        band.style.left = `${left * 100}%`;
        band.style.width = `${(right - left) * 100}%`;
      }
      const seconds = wide * data.bin;
      const step = STEPS.find((one) => seconds / one <= 8) ?? seconds;
      for (const axis of axes) {
        const marks = [];
        for (let nth = Math.ceil(from * data.bin / step - 1e-9); nth * step <= to * data.bin + 1e-9; nth++) {
          const left = (nth * step / data.bin - from) / wide * 100;
          marks.push(make("span", { style: `left:${left}%` }, time(nth * step)));
        }
        axis.replaceChildren(...marks);
      }
      wider.disabled = all.disabled = wide >= whole;
      closer.disabled = wide <= least;
      place();
    };

    const place = () => {
      const left = cursor === null ? -1 : (cursor + 0.5 - from) / (to - from);
      for (const line of lines) {
        line.hidden = left < 0 || left > 1;
        line.style.left = `${left * 100}%`;
      }
    };

    const read = (bin) => {
      cursor = Math.max(0, Math.min(whole - 1, bin));
      const at = cursor * data.bin;
      told.value = time(at) + phaseAt(at);
      slider.value = cursor;
      slider.setAttribute("aria-valuetext", told.value);
      for (const area of areas) {
        const chart = data.charts[area.dataset.chart];
        if (!chart) continue;
        for (const shown of area.closest("figure").querySelectorAll(".value")) {
          shown.textContent = value(chart.unit, chart.series[shown.dataset.series][cursor]);
        }
      }
      place();
    };

    const look = (left, right) => {
      const wide = Math.max(least, Math.min(whole, right - left));
      const middle = (left + right) / 2;
      from = Math.max(0, Math.min(whole - wide, middle - wide / 2));
      to = from + wide;
      show();
    };

    const zoom = (factor) => {
      const middle = cursor === null ? (from + to) / 2 : cursor + 0.5;
      const wide = (to - from) * factor;
      look(middle - wide / 2, middle + wide / 2);
    };

    slider.addEventListener("input", () => {
      read(Number(slider.value));
      if (cursor < from || cursor >= to) look(cursor - (to - from) / 2, cursor + (to - from) / 2);
    });
    closer.addEventListener("click", () => zoom(0.5));
    wider.addEventListener("click", () => zoom(2));
    all.addEventListener("click", () => { stretch.value = ""; look(0, whole); });
    stretch.addEventListener("change", () => {
      const phase = data.phases[stretch.value];
      if (phase) look(phase[0] / data.bin, phase[1] / data.bin); else look(0, whole);
    });

    for (const area of areas) {
      const selected = make("i", { class: "selected", hidden: "" });
      area.append(selected);
      let start = null;
      const share = (event) => {
        const box = area.getBoundingClientRect();
        return Math.max(0, Math.min(1, (event.clientX - box.left) / box.width));
      };
      const bin = (at) => from + at * (to - from);
      area.addEventListener("pointerdown", (event) => {
        if (event.button !== 0) return;
        start = share(event);
        area.setPointerCapture(event.pointerId);
      });
      area.addEventListener("pointermove", (event) => {
        const at = share(event);
        read(Math.floor(Math.min(bin(at), whole - 1)));
        if (start === null) return;
        selected.hidden = false;
        selected.style.left = `${Math.min(start, at) * 100}%`;
        selected.style.width = `${Math.abs(at - start) * 100}%`;
      });
      const end = (event, take) => {
        if (start === null) return;
        const at = share(event);
        selected.hidden = true;
        // Less than this is a hand that trembles.
        if (take && Math.abs(at - start) > 0.02) look(bin(Math.min(start, at)), bin(Math.max(start, at)));
        start = null;
      };
      area.addEventListener("pointerup", (event) => { read(Math.floor(bin(share(event)))); end(event, true); });
      area.addEventListener("pointercancel", (event) => end(event, false));
      area.addEventListener("dblclick", () => look(0, whole));
    }
    show();
  };

  for (const part of document.querySelectorAll(".timeline")) enliven(part);

  // A link to a requirement opens what is behind it.
  const open = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const details = target && target.querySelector("details");
    if (details) details.open = true;
  };
  addEventListener("hashchange", open);
  open();

  // Paper shows everything.
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    for (const one of closed) one.open = true;
  });
  addEventListener("afterprint", () => { for (const one of closed) one.open = false; });
})();
