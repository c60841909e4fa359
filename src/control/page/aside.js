// The scenario that runs, or those that could; and what was done by hand, to be made one.

import { $, announce, clock, copy, count, el, keyed, say, show, time } from "./dom.js";
import { Refused, ask, file, token } from "./api.js";

const STATES = { starting: "is being started", running: "runs", judging: "is being judged", done: "is done", stopped: "was stopped", error: "could not be run" };
const SIGNS = { pass: "✓", fail: "✕", inconclusive: "?" };
const OVER = ["done", "stopped", "error"];

/** Whether a run still goes on. */
export const goesOn = (run) => Boolean(run) && !OVER.includes(run.state);

/** What was measured goes on until the verdict is final, and so the words beside it. */
const verdictRow = (row, one) => {
  if (!row.firstChild.textContent.endsWith(one.verdict)) row.replaceChild(badge(one.verdict), row.firstChild);
  say(row.querySelector(".measured"), one.measured ? ` ${one.measured}` : "");
};

const badge = (verdict) => el("span", { class: `verdict ${verdict}` }, el("span", { "aria-hidden": "true" }, SIGNS[verdict] ?? "", " "), verdict);

/** The panel of scenarios. */
export class Run {
  constructor(world) {
    this.world = world;
    this.scenarios = null;
    this.before = "";
    this.problem = el("p", { class: "problem", role: "alert" });
    this.now = el("div", { class: "run-now" });
    this.list = el("div", { class: "scenarios" });
    $("run-body").append(this.now, this.problem, this.list);
  }

  async load() {
    if (!this.world.about.scenarios) {
      this.list.replaceChildren(
        el("p", { class: "muted" }, "A scenario is an outage in phases, with what is required in it; a run of it ends with a verdict. To start some from here, say where they are and what they are for:"),
        el("pre", {}, el("code", {}, "brownout serve --system brownout.toml --scenarios scenarios/")),
      );
      return;
    }
    this.scenarios = (await ask("GET", "/scenarios")).scenarios;
    this.choices();
  }

  choices() {
    if (!this.scenarios) return;
    if (this.scenarios.length === 0) {
      this.list.replaceChildren(el("p", { class: "muted" }, "There is no scenario in the folder yet. Save one below, and put it there."));
      return;
    }
    const again = el("button", { type: "button", class: "quiet small", onclick: () => this.load().catch((error) => say(this.problem, error.message)) }, "Look again");
    this.list.replaceChildren(el("ul", { class: "choices" }, ...this.scenarios.map((one) => this.choice(one))), again);
    this.allow();
  }

  choice(one) {
    const problems = one.problems ?? [];
    const lasts = (one.phases ?? []).reduce((sum, phase) => sum + (phase.lasts_ms ?? 0), 0);
    const button = el("button", { type: "button", class: "start", disabled: problems.length > 0, data: { bad: problems.length > 0 ? "yes" : "" }, onclick: () => this.start(one) }, "Start");
    button.setAttribute("aria-label", `Start ${one.name ?? one.file}`);
    return el(
      "li",
      {},
      el("div", {}, el("strong", {}, one.name ?? one.file), el("span", { class: "muted small" }, ` ${one.file}${one.phases?.length ? `, ${count(one.phases.length, "phase")}, ${time(lasts)}` : ""}`)),
      button,
      one.summary && one.summary !== one.name ? el("p", { class: "small" }, one.summary) : null,
      ...problems.slice(0, 3).map((problem) => el("p", { class: "problem small" }, typeof problem === "string" ? problem : problem.what)),
    );
  }

  async start(one) {
    say(this.problem, "");
    try {
      this.show(await ask("POST", "/runs", { scenario: one.file }));
      announce(`${one.name ?? one.file} is being started`);
      $("run-title").focus();
    } catch (error) {
      say(this.problem, error.message);
    }
  }

  async stop(run) {
    try {
      await ask("POST", `/runs/${run.id}/stop`);
      announce("The run is being stopped");
    } catch (error) {
      say(this.problem, error.message);
    }
  }

  allow() {
    const busy = goesOn(this.world.run) || this.world.isLost;
    for (const button of this.list.querySelectorAll(".start")) button.disabled = busy || button.dataset.bad === "yes";
  }

  show(run) {
    this.world.run = run;
    this.allow();
    if (!run) {
      this.now.replaceChildren();
      this.parts = null;
      return;
    }
    if (this.parts?.id !== run.id) this.build(run);
    this.fill(run);
    const told = `${run.state} ${run.phase ?? ""}`;
    if (this.before && this.before !== told) this.tell(run);
    this.before = told;
  }

  build(run) {
    const parts = { id: run.id, words: el("p", { class: "state-of-run" }), phases: el("ol", { class: "phases" }), verdicts: el("ul", { class: "verdicts" }), error: el("p", { class: "problem" }), links: el("p", { class: "tools" }) };
    parts.stop = el("button", { type: "button", onclick: () => this.stop(this.world.run) }, "Stop");
    parts.report = el("a", { href: `/api/v1/runs/${encodeURIComponent(run.id)}/report`, target: "_blank", rel: "noreferrer" }, "Report");
    parts.report.addEventListener("click", (event) => token() && this.fetched(event, run, "report", "report.html"));
    parts.history = el("a", { href: `/api/v1/runs/${encodeURIComponent(run.id)}/history`, download: "history.jsonl" }, "History");
    parts.history.addEventListener("click", (event) => token() && this.fetched(event, run, "history", "history.jsonl"));
    parts.links.append(parts.stop, parts.report, parts.history);
    this.parts = parts;
    this.now.replaceChildren(parts.words, parts.phases, parts.error, parts.verdicts, parts.links);
  }

  /** A link cannot bear the token: what it leads to is fetched and kept from here. */
  async fetched(event, run, what, name) {
    event.preventDefault();
    try {
      const url = URL.createObjectURL(await file(`/runs/${run.id}/${what}`));
      el("a", { href: url, download: name }).click();
      setTimeout(() => URL.revokeObjectURL(url), 60000);
    } catch (error) {
      say(this.problem, error.message);
    }
  }

  fill(run) {
    const { parts } = this;
    const known = this.scenarios?.find((one) => one.file === run.scenario);
    const name = el("strong", {}, known?.name ?? run.scenario);
    const said = `${run.state}${run.verdict}`;
    if (parts.words.dataset.said !== said) {
      parts.words.dataset.said = said;
      parts.words.replaceChildren(name, ` ${STATES[run.state] ?? run.state}. `, ...(run.verdict ? [badge(run.verdict)] : []));
    }
    keyed(parts.phases, run.phases ?? [], (phase) => phase.name, phaseRow, (row, phase) => this.phase(row, phase, run));
    say(parts.error, run.error ?? "");
    keyed(parts.verdicts, run.verdicts ?? [], (one) => one.id, (one) => el("li", {}, badge(one.verdict), " ", el("strong", {}, one.id), " ", el("span", {}, one.that ?? ""), el("span", { class: "muted small measured" })), verdictRow);
    show(parts.stop, goesOn(run));
    const written = OVER.includes(run.state) && run.state !== "error";
    show(parts.report, written);
    show(parts.history, written);
  }

  phase(row, phase, run) {
    const { now } = this.world;
    const began = phase.began_at_ms;
    const is = goesOn(run) && run.phase === phase.name;
    const passed = began !== null && began !== undefined && !is;
    row.className = is ? "is" : passed ? "passed" : "";
    if (is) row.setAttribute("aria-current", "step");
    else row.removeAttribute("aria-current");
    const part = is && phase.lasts_ms ? Math.min(1, Math.max(0, (now - began) / phase.lasts_ms)) : passed ? 1 : 0;
    row.querySelector(".done").style.width = `${100 * part}%`;
    const left = is && phase.lasts_ms ? `${clock(began + phase.lasts_ms - now)} left` : phase.lasts_ms ? time(phase.lasts_ms) : "until steady";
    say(row.querySelector(".lasts"), left);
  }

  tell(run) {
    if (run.state === "running" && run.phase) announce(`The scenario's phase: ${run.phase}`);
    else if (OVER.includes(run.state)) announce(`The scenario ${STATES[run.state]}${run.verdict ? `: ${run.verdict}` : ""}`);
  }
}

function phaseRow(phase) {
  return el("li", {}, el("span", { class: "phase-name" }, phase.name), el("span", { class: "lasts muted small" }), el("span", { class: "progress", "aria-hidden": "true" }, el("span", { class: "done" })));
}

const DID = { fault: "+", lifted: "−", expired: "⏱", renewed: "↻", dependency: "○" };

/** The panel of what was done by hand. */
export class Session {
  constructor(world) {
    this.world = world;
    this.list = el("ol", { class: "did" });
    this.none = el("p", { class: "muted" }, "Nothing yet. What you switch here is noted, and can be saved as a scenario: the same faults for the same times, as a file that runs the same way every time.");
    this.said = el("p", { class: "small", role: "status" });
    this.name = el("input", { id: "scenario-name", autocomplete: "off", maxlength: "100", placeholder: "S3 fails for half a minute" });
    const button = (words, act, more = {}) => el("button", { type: "button", onclick: act, ...more }, words);
    this.copier = button("Copy as TOML ", () => this.copy(), { class: "strong", id: "copy-toml" });
    this.copier.append(el("kbd", {}, "C"));
    this.tools = el("div", { class: "make-scenario" }, el("div", { class: "field" }, el("label", { for: "scenario-name" }, "Make a scenario of it, named"), this.name), el("p", { class: "tools" }, this.copier, button("Download", () => this.download(), { id: "download-toml" }), button("Show", () => this.preview(), { id: "show-toml" }), button("Begin anew", () => this.restart(), { class: "quiet" })));
    this.shown = el("div", { class: "preview" });
    $("session-body").append(this.none, this.list, this.tools, this.said, this.shown);
  }

  show(session) {
    if (!session) return;
    const actions = session.actions.slice(-8).reverse();
    const any = session.actions.length > 0;
    show(this.none, !any);
    show(this.list, any);
    show(this.tools, session.actions.some((one) => one.what === "fault"));
    const more = session.actions.length - actions.length;
    keyed(this.list, actions, (one) => `${one.at_ms} ${one.what} ${one.text}`, (one) => el("li", { data: { what: one.what } }, el("span", { class: "when muted" }, this.world.wall(one.at_ms)), el("span", { class: "sign", "aria-hidden": "true" }, DID[one.what] ?? "·"), el("span", {}, one.text)));
    this.list.dataset.more = more > 0 ? `and ${more} before` : "";
  }

  async made() {
    const name = this.name.value.trim();
    say(this.said, "");
    try {
      return await ask("GET", `/session/scenario${name ? `?name=${encodeURIComponent(name)}` : ""}`);
    } catch (error) {
      say(this.said, error instanceof Refused ? error.message : "The server cannot be reached.");
      return null;
    }
  }

  notes(made, words) {
    const file = made.system ? " It goes with the brownout.toml shown below, in which you say where your program is." : "";
    say(this.said, words + file);
    announce(words);
    if (made.notes.length > 0 || made.system) this.reveal(made, false);
  }

  async copy() {
    const made = await this.made();
    if (!made) return;
    if (await copy(made.toml)) this.notes(made, "The scenario is on the clipboard.");
    else {
      this.reveal(made, true);
      say(this.said, "The browser does not let this page copy: here it is.");
    }
  }

  async download() {
    const made = await this.made();
    if (!made) return;
    save(made.toml, `${slug(made.name)}.toml`);
    this.notes(made, "The scenario was downloaded.");
  }

  async preview() {
    const made = await this.made();
    if (made) this.reveal(made, true);
  }

  reveal(made, whole) {
    const code = (title, text, name) => el("details", { open: whole }, el("summary", {}, title), el("pre", { tabindex: "0", "aria-label": title }, el("code", {}, text)), el("p", { class: "tools" }, el("button", { type: "button", onclick: () => save(text, name) }, `Download ${name}`)));
    const parts = [
      made.notes.length > 0 ? el("ul", { class: "notes small" }, ...made.notes.map((note) => el("li", {}, note))) : null,
      code("The scenario", made.toml, `${slug(made.name)}.toml`),
      made.system ? code("The system it goes with", made.system, "brownout.toml") : null,
    ];
    this.shown.replaceChildren(...parts.filter(Boolean));
  }

  async restart() {
    try {
      await ask("POST", "/session/restart");
      this.shown.replaceChildren();
      say(this.said, "");
      announce("The list begins anew");
      $("session-title").focus();
    } catch (error) {
      say(this.said, error.message);
    }
  }
}

const slug = (name) => name.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "").slice(0, 60) || "by-hand";

function save(text, name) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/toml" }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
