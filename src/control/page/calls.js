// The last calls, each with its attempts as bars on one scale.

import { $, el, say, show, time, keyed } from "./dom.js";

/** As many calls are kept, and as many shown. */
const KEPT = 300;
const SHOWN = 25;
/** On a telephone, where each takes more of the screen. */
const SHOWN_NARROW = 8;
/** This share of what is shown may still wait for an answer. */
const SHARE_WAITING = 0.5;
const narrow = matchMedia("(max-width: 40rem)");

const WORDS = { ok: ["✓", "ok"], refused: ["!", "refused"], failed: ["✕", "failed"], unfinished: ["?", "no answer"] };

export class Calls {
  constructor(world) {
    this.world = world;
    this.calls = new Map();
    this.waiting = [];
    this.held = null;
    this.body = el("tbody");
    this.scale = el("span", { class: "scale" });
    this.table = el(
      "table",
      { class: "calls" },
      el("caption", { class: "visually-hidden" }, "Calls that wait for an answer, oldest first; then the last calls, newest first"),
      el("thead", {}, el("tr", {}, ...["When", "What was asked", "How it ended", "Took"].map((words) => el("th", { scope: "col" }, words)), el("th", { scope: "col" }, "Attempts ", this.scale))),
      this.body,
    );
    this.empty = el("p", { class: "empty" });
    $("calls-scroll").append(this.empty, this.table);
    $("of").addEventListener("change", () => this.draw());
    $("bad").addEventListener("change", () => this.draw());
    $("hold").addEventListener("click", () => this.hold());
  }

  /** Lets the list stand still, or go on. */
  hold() {
    this.held = this.held ? null : this.picked();
    $("hold").setAttribute("aria-pressed", String(Boolean(this.held)));
    $("hold").firstChild.textContent = this.held ? "Go on " : "Hold ";
    this.draw();
  }

  clear() {
    this.calls.clear();
  }

  /** Those that have no answer yet, the oldest first: all of them, each time. */
  waitFor(requests) {
    const attempt = ({ at_ms }) => ({ at_ms, took_ms: null, end: "unfinished", faults: [] });
    this.waiting = requests.map((one) => ({ ...one, id: `waiting ${one.id}`, took_ms: null, outcome: "unfinished", attempts: [attempt(one)] }));
  }

  take(calls) {
    for (const call of calls) this.calls.set(call.id, call);
    if (this.calls.size > KEPT) {
      const oldest = [...this.calls.values()].sort((one, other) => one.at_ms - other.at_ms).slice(0, this.calls.size - KEPT);
      for (const call of oldest) this.calls.delete(call.id);
    }
  }

  picked() {
    const of = $("of").value;
    const isWanted = (call) => (of === "" || call.dependency === of) && (!$("bad").checked || call.outcome !== "ok");
    const wanted = [...this.calls.values()].filter(isWanted).sort((one, other) => other.at_ms - one.at_ms);
    const shown = narrow.matches ? SHOWN_NARROW : SHOWN;
    const waiting = this.waiting.filter(isWanted).slice(0, shown * SHARE_WAITING);
    return [...waiting, ...wanted].slice(0, shown);
  }

  draw() {
    const calls = this.held ?? this.picked();
    const any = this.calls.size > 0 || this.waiting.length > 0;
    show($("calls-tools"), any);
    show($("calls-what"), any);
    show(this.table, calls.length > 0);
    show(this.empty, calls.length === 0);
    say(this.empty, any ? "None of the calls that are kept is one of these." : "No calls yet. As soon as your program asks a dependency for something, it is listed here.");
    this.options();
    const longest = Math.max(1, ...calls.map((call) => length(call, this.world.now)));
    say(this.scale, calls.length > 0 ? `0 to ${time(longest)}` : "");
    keyed(this.body, calls, (call) => call.id, row, (element, call) => fill(element, call, longest, this.world));
  }

  options() {
    const names = [...new Set([...this.world.dependencies.values()].map((one) => one.name))];
    const select = $("of");
    if (select.dataset.names === names.join("\n")) return;
    const chosen = select.value;
    select.dataset.names = names.join("\n");
    select.replaceChildren(el("option", { value: "" }, "all dependencies"), ...names.map((name) => el("option", { value: name }, name)));
    select.value = names.includes(chosen) ? chosen : "";
  }
}

/** From its beginning to its end, or to now. */
function length(call, now) {
  return call.took_ms ?? Math.max(0, now - call.at_ms);
}

function row() {
  const parts = {
    when: el("td", { class: "when" }),
    who: el("span", { class: "name" }),
    what: el("span", { class: "operation" }),
    key: el("span", { class: "muted key-of" }),
    sign: el("span", { class: "sign", "aria-hidden": "true" }),
    ended: el("span"),
    took: el("td", { class: "took", "data-label": "took" }),
    track: el("div", { class: "track", "aria-hidden": "true" }),
    said: el("p", { class: "small said" }),
  };
  const made = el(
    "tr",
    {},
    parts.when,
    el("th", { scope: "row" }, parts.who, " ", parts.what, " ", parts.key),
    el("td", { class: "outcome" }, parts.sign, parts.ended),
    parts.took,
    el("td", { class: "waterfall" }, parts.track, parts.said),
  );
  made.parts = parts;
  return made;
}

function fill(element, call, longest, world) {
  const { parts } = element;
  const print = `${call.outcome} ${call.took_ms} ${call.attempts.length} ${call.attempts.at(-1)?.end} ${longest} ${call.took_ms === null ? world.now : ""}`;
  if (element.dataset.print === print) return;
  element.dataset.print = print;
  const open = call.took_ms === null;
  const [sign, words] = open && call.outcome === "unfinished" ? ["…", "waiting"] : (WORDS[call.outcome] ?? ["", call.outcome]);
  element.className = open ? "open" : call.outcome;
  say(parts.when, world.wall(call.at_ms));
  say(parts.who, call.dependency);
  say(parts.what, call.operation ?? "");
  say(parts.key, call.key ?? "");
  say(parts.sign, sign);
  say(parts.ended, words);
  say(parts.took, open ? `${time(length(call, world.now))} so far` : time(call.took_ms));
  parts.track.replaceChildren(...call.attempts.map((attempt) => bar(attempt, call, longest, world)));
  say(parts.said, said(call, world));
}

function bar(attempt, call, longest, world) {
  const took = attempt.took_ms ?? Math.max(0, world.now - attempt.at_ms);
  const kind = attempt.took_ms === null ? "open" : how(attempt, call);
  const made = el("span", { class: `attempt ${kind}${(attempt.faults ?? []).length > 0 ? " hit" : ""}` });
  made.style.left = `${(100 * Math.max(0, attempt.at_ms - call.at_ms)) / longest}%`;
  made.style.width = `${Math.min(100, (100 * took) / longest)}%`;
  return made;
}

const REFUSALS = [429, 503];

/** How an attempt ended. Of the last one the call says it, and it knows more than the status. */
function how(attempt, call) {
  if (attempt === call.attempts.at(-1)) return call.outcome;
  if (attempt.end === "gave-up") return "unfinished";
  if (attempt.end !== "answered") return "failed";
  if (REFUSALS.includes(attempt.status)) return "refused";
  return attempt.code || attempt.status >= 500 ? "failed" : "ok";
}

const ENDED = { answered: "answered", "gave-up": "the caller gave up", cut: "cut off", "upstream-failed": "the real one could not be reached", unfinished: "not over yet" };

/** The attempts in words: how many, how the last ended, and what acted. */
function said(call, world) {
  const kinds = new Set();
  for (const attempt of call.attempts) for (const fault of attempt.faults ?? []) kinds.add(world.kindOf(fault));
  const last = call.attempts.at(-1);
  const ended = last ? [ENDED[last.end] ?? last.end, last.status, last.code].filter(Boolean).join(" ") : "";
  const parts = [call.attempts.length > 1 ? `${call.heuristic ? "≈ " : ""}${call.attempts.length} attempts` : "", ended, kinds.size > 0 ? `hit by ${[...kinds].join(", ")}` : ""];
  return parts.filter(Boolean).join(" · ");
}
