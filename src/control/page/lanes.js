// A lane: one dependency, what flows through it, what fails, and what can be done to it by a click.

import { bytes, clock, copy, el, number, say, show, time, announce } from "./dom.js";
import { Attempts, Bytes, Latency, bad, spansOfRun, total } from "./draw.js";
import { address, likeness, presets } from "./presets.js";

const OF = { file: "", api: "made by hand", toxiproxy: "of the Toxiproxy API", run: "of the scenario that runs" };

/** A scenario's dependencies may have the names of those that stand already. */
export const keyOf = (dependency) => (dependency.of === "run" ? `${dependency.name} (run)` : dependency.name);

const urlOf = (dependency) => dependency.url ?? address(dependency.protocol, dependency.listen);

/** What keeps connections from being made, so that nothing is seen of who tries. */
const SHUT = { refuse: "connections are refused", "no-accept": "connections are not answered" };

/** The state of the last seconds in a word: its sign, its class, and the words. */
function state(live, recent, faults) {
  const shut = faults.find((fault) => SHUT[fault.kind] && !fault.keys.share);
  if (shut) return ["✕", "bad", SHUT[shut.kind]];
  const all = recent.reduce((sum, second) => sum + total(second), 0);
  const wrong = recent.reduce((sum, second) => sum + bad(second), 0);
  const waiting = live.in_flight ?? 0;
  if (all === 0 && waiting > 0) return ["!", "bad", `${number(waiting)} waiting, none answered`];
  if (all === 0) return ["–", "idle", (live.connections ?? 0) > 0 ? "connected, nothing asked" : "no traffic"];
  if (wrong === 0) return ["✓", "good", "all answered"];
  if (wrong === all) return ["✕", "bad", "everything fails"];
  return ["!", "part", `${number((100 * wrong) / all)} % fail`];
}

/** A figure with its unit: `12/s attempts`. */
function figure(words) {
  const value = el("span", { class: "value" }, "–");
  return { value, element: el("li", {}, value, ` ${words}`) };
}

export class Lane {
  constructor(dependency, world, act) {
    this.name = dependency.name;
    this.key = keyOf(dependency);
    this.world = world;
    this.act = act;
    this.word = "";
    // Of bytes without requests nothing more is known than how many there are.
    this.plain = dependency.live.attempts_per_s === null;
    this.charts();
    this.sign = el("span", { class: "sign", "aria-hidden": "true" });
    this.words = el("span");
    this.state = el("p", { class: "state" }, this.sign, this.words);
    this.listen = el("code", { class: "address" });
    this.copier = el("button", { type: "button", class: "quiet small", onclick: () => this.copyAddress() }, "Copy");
    this.where = el("p", { class: "where" }, this.listen, " ", this.copier);
    this.upstream = el("p", { class: "muted small upstream" });
    this.hint = el("p", { class: "small hint" });
    this.remover = el("button", { type: "button", class: "quiet small", onclick: () => act.remove(this.name) }, "Remove");
    this.badge = el("span", { class: "badge" });
    const title = el("h3", { class: "name", tabindex: "-1" }, dependency.name);
    this.title = title;
    this.who = el("div", { class: "who" }, el("p", { class: "title" }, title, el("span", { class: "badge" }, dependency.protocol ?? "bytes"), this.badge), this.state, this.where, this.upstream, this.hint, this.remover);
    this.buttons = el("div", { class: "presets" });
    this.toxics = el("ul", { class: "toxics small" });
    this.faults = el("div", { class: "switches", role: "group", "aria-label": `Faults on ${dependency.name}` }, this.buttons, this.toxics);
    this.element = el("article", { class: "lane", data: { name: dependency.name } }, this.who, this.faults, this.drawn);
    this.offer();
  }

  charts() {
    if (this.plain) {
      this.bytes = new Bytes();
      this.flow = figure("both ways");
      this.connections = figure("connections");
      this.drawn = el("div", { class: "charts" }, el("figure", { class: "chart" }, el("figcaption", {}, el("span", { class: "label" }, "Bytes a second"), el("ul", { class: "figures" }, this.flow.element, this.connections.element)), this.bytes.plot));
      return;
    }
    this.attempts = new Attempts();
    this.latency = new Latency();
    this.figures = { rate: figure("a second"), wrong: figure("went wrong"), flight: figure("waiting") };
    this.times = { p50: figure("half are faster"), p99: figure("99 in 100 are faster") };
    this.times.p50.element.prepend(el("span", { class: "key p50", "aria-hidden": "true" }));
    this.times.p99.element.prepend(el("span", { class: "key p99", "aria-hidden": "true" }));
    const chart = (label, figures, plot) => el("figure", { class: "chart" }, el("figcaption", {}, el("span", { class: "label" }, label), el("ul", { class: "figures" }, ...Object.values(figures).map((one) => one.element))), plot);
    this.drawn = el(
      "div",
      { class: "charts" },
      chart("Attempts", this.figures, this.attempts.plot),
      chart("Time to answer", this.times, this.latency.plot),
      el("p", { class: "axis muted", "aria-hidden": "true" }, el("span", {}, "2 min ago"), el("span", {}, "1 min"), el("span", {}, "now")),
    );
  }

  /** The buttons of what can be done here. */
  offer() {
    const { kinds, dependencies } = this.world;
    const dependency = dependencies.get(this.key);
    this.switches = [];
    if (!kinds || dependency.of === "toxiproxy" || dependency.of === "run") {
      this.buttons.replaceChildren();
      return;
    }
    const made = presets(dependency.protocol, kinds.kinds).map((preset) => {
      const left = el("span", { class: "left" });
      const button = el("button", { type: "button", class: "preset", "aria-pressed": "false", title: preset.says, onclick: () => this.toggle(preset) }, el("span", {}, preset.label), left);
      this.switches.push({ preset, button, left, like: likeness(preset.fault.kind, preset.fault) });
      return button;
    });
    const more = el("button", { type: "button", class: "preset more", "aria-haspopup": "dialog", onclick: () => this.act.form(this.name) }, "More …");
    this.buttons.replaceChildren(...made, more);
  }

  faultsHere() {
    return [...this.world.faults.values()].filter((fault) => fault.on.includes(this.name));
  }

  /** The fault of a preset that is in force here, if one is. */
  inForce(like) {
    return this.faultsHere().find((fault) => fault.on.length === 1 && likeness(fault.kind, fault.keys) === like);
  }

  toggle(preset) {
    const known = this.inForce(likeness(preset.fault.kind, preset.fault));
    if (known) this.act.lift(known);
    else this.act.place({ ...preset.fault, on: this.name });
  }

  async copyAddress() {
    const copied = await copy(urlOf(this.world.dependencies.get(this.key)));
    say(this.copier, copied ? "Copied" : "Select it by hand");
    announce(copied ? `The address of ${this.name} is on the clipboard` : "The browser does not let this page copy");
    setTimeout(() => say(this.copier, "Copy"), 2000);
  }

  focus() {
    const target = this.switches[0]?.button ?? this.title;
    target.focus();
    this.element.scrollIntoView({ block: "nearest" });
  }

  update(dependency) {
    const { now } = this.world;
    const series = this.world.series.get(this.key);
    const seconds = series.window(now);
    const { live } = dependency;
    const ofRun = dependency.of === "run";
    const spans = ofRun ? spansOfRun(this.world.run, this.name, now) : this.world.spansOf(this.name, now);
    const faulty = (ofRun && spans.some(([, to]) => to === now)) || dependency.faults.length > 0 || (dependency.toxics ?? []).length > 0;
    this.element.classList.toggle("faulty", faulty);
    this.place(dependency);
    if (this.plain) {
      this.bytes.draw(seconds);
      this.bytes.shade(spans, now);
      say(this.flow.value, bytes((live.bytes_in_per_s ?? 0) + (live.bytes_out_per_s ?? 0)));
      say(this.connections.value, number(live.connections));
      this.tell((live.connections ?? 0) > 0 ? ["✓", "idle", "connected"] : ["–", "idle", "no connection"]);
    } else {
      const recent = seconds.slice(-3);
      this.attempts.draw(seconds);
      this.latency.draw(seconds);
      this.attempts.shade(spans, now);
      this.latency.shade(spans, now);
      const wrong = (live.failed ?? 0) + (live.refused ?? 0) + (live.unfinished ?? 0);
      const all = wrong + (live.ok ?? 0);
      say(this.figures.rate.value, number(live.attempts_per_s));
      say(this.figures.wrong.value, all === 0 ? "–" : `${number((100 * wrong) / all)} %`);
      this.figures.wrong.element.classList.toggle("bad", wrong > 0);
      say(this.figures.flight.value, number(live.in_flight));
      say(this.times.p50.value, time(live.latency_ms?.p50));
      say(this.times.p99.value, time(live.latency_ms?.p99));
      this.tell(state(live, recent, dependency.of === "run" ? [] : this.faultsHere()));
      this.hints(dependency, seconds);
    }
    for (const { button, left, like } of this.switches) {
      const known = this.inForce(like);
      button.setAttribute("aria-pressed", String(Boolean(known)));
      say(left, known ? clock(known.ends_in_ms) : "");
    }
  }

  /** Where it listens, what is behind it, and whose it is. */
  place(dependency) {
    const { listen, of } = dependency;
    show(this.where, Boolean(listen));
    if (listen) {
      say(this.listen, listen);
      this.copier.setAttribute("aria-label", `Copy the address of ${this.name}, ${urlOf(dependency)}`);
    }
    const behind = listen ? `stands before ${dependency.upstream}` : `steps aside while a scenario runs; before ${dependency.upstream}`;
    say(this.upstream, of === "run" ? `before ${dependency.upstream}, while the scenario runs` : behind);
    say(this.badge, OF[of] ?? of);
    show(this.badge, Boolean(OF[of] ?? of));
    show(this.remover, of === "api");
    this.remover.setAttribute("aria-label", `Remove ${this.name}`);
    const toxics = dependency.toxics ?? [];
    const said = toxics.map((toxic) => (typeof toxic === "string" ? toxic : `${toxic.name ?? toxic.type}: ${toxic.type} ${toxic.stream ?? ""}`.trim()));
    if (this.toxics.dataset.said !== said.join("\n")) {
      this.toxics.dataset.said = said.join("\n");
      this.toxics.replaceChildren(...said.map((words) => el("li", {}, words)));
    }
    if (of === "toxiproxy" && this.toxics.childElementCount === 0) this.toxics.replaceChildren(el("li", { class: "muted" }, "no toxics; its own clients switch them"));
  }

  /** Where nothing was ever seen: what to do. */
  hints(dependency, seconds) {
    const seen = seconds.some((second) => total(second) > 0) || (dependency.live.connections ?? 0) > 0 || (dependency.live.in_flight ?? 0) > 0;
    const wanted = !seen && dependency.listen && dependency.of !== "run";
    show(this.hint, Boolean(wanted));
    if (wanted) say(this.hint, `Point your program at ${urlOf(dependency)} in place of ${dependency.upstream}.`);
  }

  tell([sign, kind, words]) {
    say(this.sign, sign);
    say(this.words, words);
    if (this.state.dataset.kind !== kind) {
      const before = this.state.dataset.kind;
      this.state.dataset.kind = kind;
      if (before && kind === "bad") announce(`${this.name}: ${words}`);
      if (before === "bad" && kind === "good") announce(`${this.name}: all answered again`);
    }
  }
}
