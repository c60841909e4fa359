// Drives the live page of `brownout serve` in the distribution's Chromium, as a person does, and says as
// one JSON document on stdout what was seen.
//
//   node live_page.js ADDRESS PID FOLDER EMPTY TOKEN
//
// ADDRESS is the server's, PID its process, which is made to stand still for a while; pictures and the
// scenario that is saved go to FOLDER. EMPTY is the address of a server that has no dependency and asks for
// TOKEN.
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const path = require("node:path");
const { chromium } = require("playwright-core");

const [address, pid, folder, empty, token] = process.argv.slice(2);
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const origin = `http://${address}`;
const places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const seen = { steps: [], asked: [], complaints: [], serious: [], checked: [], overflow: [] };

/** So many answers that say what is wrong are still to come. */
let wrongOnPurpose = 0;

/** Longer than anything that is waited for, in ms. */
const PATIENCE = 15000;

function watched(page) {
  page.setDefaultTimeout(PATIENCE);
  page.on("request", (request) => {
    const url = request.url();
    const own = [address, empty].some((server) => url.startsWith(`http://${server}/`));
    if (!own && !url.startsWith("blob:") && !url.startsWith("data:")) seen.asked.push(url);
  });
  page.on("console", (message) => {
    // The browser complains of every answer that is no success, also of one that was asked for on purpose.
    if (wrongOnPurpose > 0 && message.text().includes("the server responded with a status of 4")) wrongOnPurpose--;
    else seen.complaints.push(`${message.type()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => seen.complaints.push(String(error)));
  return page;
}

/** What axe-core has against the page, and whether it is wider than the screen. */
async function checked(page, name) {
  // The policy of the page lets no script in but its own; what the test brings comes another way.
  await page.evaluate(axe);
  const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
  const bad = found.violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  for (const { id, nodes } of bad) seen.serious.push(`${name}: ${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 160))}`);
  seen.checked.push(found.passes.length);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  if (wide > 0) seen.overflow.push(`${name}: ${wide}`);
}

const lane = (page, name) => page.locator(`.lane[data-name="${name}"]`);
const inForce = (page) => page.locator("#force-title").innerText();
const crown = (page) => page.evaluate(() => ({ title: document.title, icon: document.getElementById("icon").getAttribute("href") }));

/** The state of the lane, the chart of failures, the share that went wrong. */
const look = (page, name) =>
  lane(page, name).evaluate((lane) => ({
    state: lane.querySelector(".state").dataset.kind,
    words: lane.querySelector(".state").textContent,
    failed: (lane.querySelector(".layer.failed").getAttribute("d") ?? "").split("Z").length - 1,
    ok: (lane.querySelector(".layer.ok").getAttribute("d") ?? "").split("Z").length - 1,
    wrong: parseFloat([...lane.querySelectorAll(".figures li")][1].textContent) || 0,
  }));

async function until(page, name, state) {
  await lane(page, name).locator(`.state[data-kind=${state}]`).waitFor();
  return look(page, name);
}

/** A fault by a click, and away by another. */
async function byClick(page) {
  const before = await until(page, "prices", "good");
  const button = lane(page, "prices").getByRole("button", { name: "500s", exact: true });
  await button.click();
  const during = await until(page, "prices", "bad");
  await page.waitForFunction(() => [...document.querySelectorAll(".calls .failed")].some((row) => row.textContent.includes("hit by error")));
  const title = await inForce(page);
  const tab = await crown(page);
  const pressed = await lane(page, "prices").locator(".preset[aria-pressed=true]").innerText();
  const call = await page.locator(".calls .failed").first().innerText();
  await page.screenshot({ path: path.join(folder, "fault.png") });
  await lane(page, "prices").locator(".preset[aria-pressed=true]").click();
  const after = await until(page, "prices", "good");
  seen.clicked = { before, during, after, title, tab, pressed, call, lifted: await inForce(page), tabAfter: await crown(page) };
}

/** Walks on with the tabulator until the focus is there. */
async function walk(page, id) {
  for (let steps = 1; steps < 60; steps++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate((id) => document.activeElement?.id === id, id)) return steps;
  }
  throw new Error(`the keyboard does not lead to ${id}`);
}

/** The same without a mouse: the form with all keys, a fault of two seconds, which ends by itself. */
async function byKeys(page) {
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press("?");
  const help = await page.locator("#keys").isVisible();
  await page.keyboard.press("Escape");
  await page.locator("#keys").waitFor({ state: "hidden" });
  const closed = await page.evaluate(() => document.querySelector("dialog[open]") === null);
  // What a closed dialog gives the focus back to is settled with the next picture.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  await page.keyboard.press("1");
  await page.waitForFunction(() => document.activeElement?.matches(".preset"));
  const first = await page.evaluate(() => document.activeElement.textContent);
  await page.keyboard.press("f");
  await page.locator("#form[open]").waitFor();
  await page.keyboard.type("refuse");
  const kind = await page.locator("#form-kind").inputValue();
  const steps = await walk(page, "form-ttl");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("soon");
  wrongOnPurpose = 1;
  await page.keyboard.press("Enter");
  await page.locator("#form-ttl[aria-invalid]").waitFor();
  const wrong = await page.locator("#form-ttl-problem").innerText();
  await page.keyboard.press("Control+A");
  await page.keyboard.type("2s");
  await page.keyboard.press("Enter");
  await page.locator("#force.any").waitFor();
  const placed = await inForce(page);
  const label = await page.locator("#faults .name").first().innerText();
  await page.locator("#session .did [data-what=fault]").first().waitFor();
  await page.locator("#force:not(.any)").waitFor();
  await page.locator("#session .did [data-what=expired]").first().waitFor();
  await until(page, "prices", "good");
  const said = await page.locator("#said").innerText();
  seen.keys = { help, closed, first, kind, steps, wrong, placed, label, said };
}

/** What was done, as a file: on the clipboard and downloaded. */
async function saved(page) {
  await page.locator("#scenario-name").fill("Prices <fail> for a while");
  const [download] = await Promise.all([page.waitForEvent("download"), page.locator("#download-toml").click()]);
  await download.saveAs(path.join(folder, "by-hand.toml"));
  await page.evaluate(() => document.activeElement?.blur());
  await page.keyboard.press("c");
  await page.getByText("on the clipboard").first().waitFor();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  seen.saved = { file: download.suggestedFilename(), text: fs.readFileSync(path.join(folder, "by-hand.toml"), "utf8"), copied };
}

/** A request without an answer is listed, and grows older; once it is given up it is so no more. */
async function waiting(page) {
  const switched = (method, path, body) => page.evaluate(async ([method, path, body]) => {
    const { ask } = await import("/page/api.js");
    return ask(method, path, body);
  }, [method, path, body]);
  const fault = await switched("POST", "/faults", { on: "prices", kind: "hang", ttl: "1m" });
  const open = page.locator(".calls .open", { hasText: "so far" }).first();
  await open.waitFor();
  seen.waiting = await open.innerText();
  await switched("DELETE", `/faults/${fault.id}`);
  await open.waitFor({ state: "detached" });
}

/** A call that is tried three times is one row, with a bar for each of its attempts. */
async function attempts(page) {
  const listen = await page.evaluate(async () => {
    const { ask } = await import("/page/api.js");
    const { upstream } = await ask("GET", "/dependencies/prices");
    const made = await ask("POST", "/dependencies", { name: "store", protocol: "s3", upstream });
    await ask("POST", "/faults", { on: "store", kind: "error", error: "InternalError", first: 2, ttl: "1m" });
    return made.listen;
  });
  const [host, port] = listen.split(":");
  const statuses = [];
  for (let attempt = 1; attempt <= 3; attempt++) {
    const headers = { "amz-sdk-invocation-id": "7f3e", "amz-sdk-request": `attempt=${attempt}; max=3` };
    const asked = { host, port, path: "/", headers, agent: false };
    statuses.push(await new Promise((done, failed) => {
      http.get(asked, (answer) => answer.resume().on("end", () => done(answer.statusCode))).on("error", failed);
    }));
  }
  await page.locator("#of").selectOption("store");
  const row = page.locator(".calls tbody tr", { hasText: "3 attempts" });
  await row.waitFor();
  seen.attempts = await page.locator(".calls tbody").evaluate((body) => ({
    rows: body.rows.length,
    outcome: body.rows[0].className,
    bars: [...body.rows[0].querySelectorAll(".attempt")].map((bar) => [...bar.classList].slice(1).join(" ")),
    lefts: [...body.rows[0].querySelectorAll(".attempt")].map((bar) => parseFloat(bar.style.left)),
    said: body.rows[0].querySelector(".said").textContent,
  }));
  seen.attempts.statuses = statuses;
  await page.locator("#of").selectOption("");
  await page.evaluate(async () => {
    const { ask } = await import("/page/api.js");
    await ask("DELETE", "/dependencies/store");
  });
}

/** Every button of every protocol is something that the server takes. */
async function presets(page) {
  seen.presets = await page.evaluate(async () => {
    const { presets, PROTOCOLS } = await import("/page/presets.js");
    const { ask } = await import("/page/api.js");
    const { kinds } = await ask("GET", "/kinds");
    const offered = {};
    for (const [protocol] of PROTOCOLS) {
      const name = `try-${protocol}`;
      await ask("POST", "/dependencies", { name, protocol, upstream: "127.0.0.1:9" });
      const own = presets(protocol, kinds);
      for (const { fault } of own) {
        const made = await ask("POST", "/faults", { ...fault, on: name, ttl: "1m" });
        await ask("DELETE", `/faults/${made.id}`);
      }
      offered[protocol] = own.length;
      await ask("DELETE", `/dependencies/${name}`);
    }
    return offered;
  });
}

/** A scenario is started, watched and stopped. */
async function scenario(page) {
  await page.getByRole("button", { name: /^Start / }).first().click();
  await page.locator(".phases .is").waitFor();
  const phase = await page.locator(".phases .is .phase-name").innerText();
  const lane = await page.locator(".lane").evaluateAll((all) => all.map((one) => one.querySelector(".title").innerText));
  const shades = () => {
    const ofRun = [...document.querySelectorAll(".lane")].find((one) => one.textContent.includes("of the scenario that runs"));
    return (ofRun?.querySelector(".shade").getAttribute("d") ?? "").split("Z").length - 1;
  };
  const before = await page.evaluate(shades);
  await page.locator(".phases .is .phase-name", { hasText: "they hang" }).waitFor();
  await page.waitForFunction(shades);
  const shaded = [before, await page.evaluate(shades)];
  await page.locator("#run-body").getByRole("button", { name: "Stop" }).click();
  await page.locator(".state-of-run", { hasText: "stopped" }).waitFor();
  seen.run = { phase, lane, shaded, words: await page.locator(".state-of-run").innerText() };
}

/** Names and operations that look like markup are shown as they are. */
async function hostile(page) {
  await page.locator(".lane h3", { hasText: "<img" }).waitFor();
  await page.locator(".calls", { hasText: "<b>" }).waitFor();
  seen.hostile = await page.evaluate(() => ({
    names: [...document.querySelectorAll(".lane h3")].map((one) => one.textContent),
    made: document.querySelectorAll("main img, main b, main script").length,
    ran: window.ran ?? null,
  }));
}

/** The server stands still: that is said, and when it goes on all is as before. */
async function lost(page) {
  process.kill(Number(pid), "SIGSTOP");
  let told;
  try {
    await page.locator("#lost").waitFor();
    told = { words: await page.locator("#lost").innerText(), tab: await crown(page), head: await page.locator("#link").innerText() };
    await page.screenshot({ path: path.join(folder, "lost.png") });
    await checked(page, "lost");
  } finally {
    process.kill(Number(pid), "SIGCONT");
  }
  await page.locator("#lost").waitFor({ state: "hidden" });
  await until(page, "prices", "good");
  seen.lost = { ...told, again: await page.locator("#link").innerText(), tabAfter: await crown(page) };
}

/** Every width and theme with a fault in force, and the form in every width and every theme. */
async function everywhere(browser, page) {
  await lane(page, "prices").getByRole("button", { name: "Some 500s" }).click();
  for (const width of [1440, 390]) {
    for (const colorScheme of ["light", "dark"]) {
      const name = `${width}-${colorScheme}`;
      const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme });
      const other = watched(await context.newPage());
      await other.goto(`${origin}/`);
      await other.locator("#force.any").waitFor();
      await other.locator(".calls .failed").first().waitFor();
      await checked(other, name);
      await other.screenshot({ path: path.join(folder, `${name}.png`), timeout: 60000 });
      if ((width === 390) === (colorScheme === "light")) {
        await lane(other, "prices").getByRole("button", { name: "More" }).click();
        await other.locator("#form[open]").waitFor();
        await checked(other, `${name} form`);
      }
      await context.close();
    }
  }
  await page.locator("#lift-all").click();
  await page.locator("#force:not(.any)").waitFor();
}

/** A server that asks for its token and has nothing yet: what to do is said, and can be done. */
async function first(browser) {
  const page = watched(await browser.newPage({ viewport: { width: 1440, height: 900 } }));
  // Whoever does not know the token is told so.
  wrongOnPurpose = 10;
  await page.goto(`http://${empty}/`);
  await page.locator("#token[open]").waitFor();
  await page.keyboard.type("a wrong one");
  await page.keyboard.press("Enter");
  await page.locator("#token-problem", { hasText: "not" }).waitFor();
  const wrong = await page.locator("#token-problem").innerText();
  await page.locator("#token-text").fill(token);
  await page.keyboard.press("Enter");
  await page.locator(".first").waitFor();
  wrongOnPurpose = 0;
  await checked(page, "empty");
  const says = await page.locator(".first").innerText();
  await page.locator("#make-name").fill("store");
  await page.locator("#make-protocol").selectOption("redis");
  await page.locator("#make-upstream").fill("127.0.0.1:9");
  await page.keyboard.press("Enter");
  await lane(page, "store").waitFor();
  const hint = await lane(page, "store").locator(".hint").innerText();
  await lane(page, "store").getByRole("button", { name: "Remove" }).click();
  await page.locator(".first").waitFor();
  await page.close();
  seen.first = { wrong, says, hint };
}

(async () => {
  const executablePath = places.find((place) => fs.existsSync(place));
  if (!executablePath) throw new Error("chromium is missing: tests/run installs it");
  const browser = await chromium.launch({
    executablePath,
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, acceptDownloads: true, permissions: ["clipboard-read", "clipboard-write"] });
  const page = watched(await context.newPage());
  const response = await page.goto(`${origin}/`);
  seen.policy = response.headers()["content-security-policy"];
  await page.keyboard.press("Tab");
  seen.skip = await page.evaluate(() => document.activeElement.textContent);
  const taken = async (name, step) => {
    const began = Date.now();
    await step();
    seen.steps.push(`${name}: ${Date.now() - began} ms`);
  };
  for (const step of [byClick, byKeys, hostile, saved, waiting, attempts, presets, scenario]) await taken(step.name, () => step(page));
  await taken("everywhere", () => everywhere(browser, page));
  await taken("first", () => first(browser));
  // What was complained of until here; a connection that is lost is complained of by the browser itself.
  const complaints = [...seen.complaints];
  await taken("lost", () => lost(page));
  seen.complaints = complaints;
  await browser.close();
  process.stdout.write(JSON.stringify(seen));
})().catch((error) => {
  process.stderr.write(`${error.stack}\n${JSON.stringify(seen, null, 1)}\n`);
  process.exit(1);
});
