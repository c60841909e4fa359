// Takes the picture of the live page: starts `brownout serve`, two interfaces and somebody who asks them, switches
// faults as a person would, and opens the page in the distribution's Chromium.
//
//   node live.js BROWNOUT LIVE.png
"use strict";

const fs = require("node:fs");
const http = require("node:http");
const { spawn } = require("node:child_process");
const { once } = require("node:events");
const { chromium } = require("playwright-core");

const [brownout, picture] = process.argv.slice(2);
const places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

/** An interface that takes about so long, in ms. */
async function standing(takes) {
  const server = http.createServer((request, answer) => setTimeout(() => answer.end("{}"), takes * (0.6 + Math.random())));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return `127.0.0.1:${server.address().port}`;
}

/** One request, given up after four seconds; true if it was answered. */
const fetched = (url, method) =>
  new Promise((done) => {
    const request = http.request(url, { method, timeout: 4000, agent: false }, (answer) => {
      answer.resume();
      answer.on("end", () => done(answer.statusCode < 500));
      answer.on("error", () => done(false));
    });
    request.on("timeout", () => request.destroy());
    request.on("error", () => done(false));
    request.end();
  });

/** A client that tries three times. */
async function called(url, method) {
  for (let attempt = 0; attempt < 3; attempt++) {
    if (await fetched(url, method)) return;
    await pause(60 * 2 ** attempt * (0.5 + Math.random()));
  }
}

(async () => {
  const server = spawn(brownout, ["serve", "--port", "0", "--seed", "42"], { stdio: ["ignore", "pipe", "ignore"] });
  const [line] = await once(server.stdout, "data");
  const origin = String(line).match(/http:\/\/[^,]+/)[0];
  const asked = (path, body) => fetch(`${origin}/api/v1${path}`, { method: "POST", headers: { "content-type": "application/json", "x-brownout": "1" }, body: JSON.stringify(body) }).then((answer) => answer.json());
  const clients = [];
  for (const [name, protocol, takes, every, path] of [
    ["models", "s3", 18, 45, "/models/bot-7.bin"],
    ["payments", "http", 90, 120, "/v1/charges"],
  ]) {
    const { listen } = await asked("/dependencies", { name, protocol, upstream: await standing(takes) });
    let nth = 0;
    clients.push(setInterval(() => called(`http://${listen}${path}`, nth++ % 4 === 0 ? "PUT" : "GET"), every));
  }
  const executablePath = places.find((place) => fs.existsSync(place));
  if (!executablePath) throw new Error("chromium is missing: tests/run installs it");
  const browser = await chromium.launch({ executablePath, headless: true, args: ["--no-sandbox", "--disable-gpu", "--disable-lcd-text"] });
  const page = await browser.newPage({ viewport: { width: 1100, height: 900 }, colorScheme: "light" });
  await page.goto(`${origin}/`);
  await page.locator(".lane").first().waitFor();
  await pause(45000);
  const lane = (name) => page.locator(`.lane[data-name=${name}]`);
  await lane("payments").getByRole("button", { name: "Slow", exact: true }).click();
  await pause(10000);
  await page.locator("#lift-all").click();
  await pause(22000);
  await lane("models").getByRole("button", { name: "Some 500s" }).click();
  await pause(16000);
  await page.mouse.move(1, 899);
  await page.evaluate(() => document.activeElement.blur());
  const lanes = await page.locator("#lanes").boundingBox();
  await page.screenshot({ path: picture, clip: { x: 0, y: 0, width: 1100, height: lanes.y + lanes.height + 14 }, timeout: 60000 });
  await browser.close();
  clients.forEach(clearInterval);
  server.kill();
  process.exit(0);
})().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
