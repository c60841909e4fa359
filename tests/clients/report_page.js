// Opens a report in the distribution's Chromium and says, as one JSON document on stdout, what a
// reader meets: at two widths, in light and dark, with scripts and without.
//
//   node report_page.js REPORT.html PICTURES [brief]
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { chromium } = require("playwright-core");

const [report, pictures, brief] = process.argv.slice(2);
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const address = `file://${path.resolve(report)}`;
const places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

/** What can be read without opening anything, and what is behind `<details>`, without code. */
const words = () => {
  const page = document.body.cloneNode(true);
  for (const code of page.querySelectorAll("script, style")) code.remove();
  return page.textContent.replace(/\s+/g, " ");
};

/** Every drawing with its size and whether something is drawn in it. */
const drawings = () =>
  [...document.querySelectorAll("svg.drawn")].map((svg) => {
    const box = svg.getBoundingClientRect();
    const shapes = [...svg.querySelectorAll("path.line, path.layer, rect")];
    const seen = shapes.filter((shape) => {
      const { width, height } = shape.getBoundingClientRect();
      return width > 0 || height > 0;
    });
    const scenario = svg.closest("section.scenario").id;
    return { scenario, says: svg.getAttribute("aria-label"), width: box.width, height: box.height, seen: seen.length };
  });

/** Opens the first evidence that has a waterfall of several bars by a click, as a reader does. */
async function evidence(page) {
  const details = page.locator("details:has(.waterfall tbody tr + tr)").first();
  if ((await details.count()) === 0) return null;
  const before = await details.locator(".bar").first().isVisible();
  await details.locator("summary").click();
  const bars = details.locator(".bar");
  const widths = await bars.evaluateAll((all) => all.map((bar) => bar.getBoundingClientRect().width));
  return { before, after: await bars.first().isVisible(), bars: widths.length, width: Math.max(...widths) };
}

/** Points at a chart, walks on with the keyboard, looks closer and back. */
async function cursor(page) {
  const part = page.locator(".timeline").first();
  const area = part.locator(".area[data-chart]").first();
  await area.scrollIntoViewIfNeeded();
  await area.hover();
  const state = () =>
    part.evaluate((part) => ({
      areas: part.querySelectorAll(".area").length,
      cursors: part.querySelectorAll(".cursor:not([hidden])").length,
      values: [...part.querySelectorAll(".value")].map((one) => one.textContent),
      told: part.querySelector("output").value,
      frames: [...new Set([...part.querySelectorAll("svg.drawn")].map((svg) => svg.getAttribute("viewBox")))],
    }));
  const hovered = await state();
  await part.locator("input[type=range]").focus();
  await page.keyboard.press("ArrowRight");
  const walked = await state();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  const closer = await state();
  await part.getByRole("button", { name: "Whole run" }).click();
  const back = await state();
  const box = await area.boundingBox();
  await page.mouse.move(box.x + box.width * 0.25, box.y + 5);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.5, box.y + 5, { steps: 4 });
  await page.mouse.up();
  const dragged = await state();
  return { hovered, walked, closer, back, dragged };
}

async function visit(browser, width, colorScheme, scripts) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme, javaScriptEnabled: scripts });
  const page = await context.newPage();
  const asked = [];
  const complaints = [];
  page.on("request", (request) => asked.push(request.url()));
  page.on("console", (message) => complaints.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => complaints.push(String(error)));
  await page.goto(address);
  const seen = { width, colorScheme, scripts };
  seen.overflow = await page.evaluate(() => document.documentElement.scrollWidth - window.innerWidth);
  seen.paper = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
  seen.drawings = await page.evaluate(drawings);
  seen.words = await page.evaluate(words);
  await page.screenshot({ path: path.join(pictures, `${width}-${colorScheme}${scripts ? "" : "-plain"}.png`), timeout: 120000 });
  seen.evidence = await evidence(page);
  if (scripts) {
    seen.cursor = await cursor(page);
    await page.evaluate(() => document.querySelectorAll("details").forEach((one) => { one.open = true; }));
    await page.evaluate(axe);
    const found = await page.evaluate(() => window.axe.run(document, { resultTypes: ["violations"] }));
    seen.violations = found.violations.map(({ id, impact, nodes }) => ({ id, impact, where: nodes.slice(0, 3).map((node) => node.html.slice(0, 200)) }));
    seen.checked = found.passes.length;
  }
  seen.asked = asked.filter((url) => url !== address && !url.startsWith("data:"));
  seen.complaints = complaints;
  await context.close();
  return seen;
}

/** The mean colour of a picture, as a page that decodes it sees it. */
async function mean(page, picture) {
  return page.evaluate(async (data) => {
    const image = new Image();
    image.src = `data:image/png;base64,${data}`;
    await image.decode();
    const canvas = new OffscreenCanvas(image.width, image.height);
    const context = canvas.getContext("2d");
    context.drawImage(image, 0, 0);
    const { data: points } = context.getImageData(0, 0, image.width, image.height);
    const sums = [0, 0, 0];
    for (let at = 0; at < points.length; at += 4) for (let part = 0; part < 3; part++) sums[part] += points[at + part];
    return sums.map((sum) => (sum * 4) / points.length);
  }, picture.toString("base64"));
}

/** The colours of the first chart's legend as people see them who cannot tell all colours apart. */
async function eyes(browser, colorScheme) {
  const context = await browser.newContext({ viewport: { width: 1440, height: 900 }, colorScheme, deviceScaleFactor: 4 });
  const page = await context.newPage();
  const decoder = await context.newPage();
  await page.goto(address);
  await page.bringToFront();
  const client = await context.newCDPSession(page);
  const seen = {};
  for (const type of ["none", "deuteranopia", "protanopia", "tritanopia"]) {
    await client.send("Emulation.setEmulatedVisionDeficiency", { type });
    const legend = page.locator(".legend").first();
    seen[type] = [];
    for (const swatch of await legend.locator("li .swatch").all()) {
      const hatch = await swatch.evaluate((one) => one.querySelector(".mark")?.getAttribute("d") ?? "none");
      seen[type].push({ colour: await mean(decoder, await swatch.screenshot()), hatch });
    }
    if (type !== "none") await page.screenshot({ path: path.join(pictures, `${colorScheme}-${type}.png`), fullPage: true, scale: "css", timeout: 120000 });
  }
  await context.close();
  return { colorScheme, seen };
}

async function paper(browser) {
  const page = await browser.newPage();
  await page.goto(address);
  const file = path.join(pictures, "report.pdf");
  await page.pdf({ path: file, format: "A4", printBackground: true });
  await page.close();
  return fs.statSync(file).size;
}

(async () => {
  const executablePath = places.find((place) => fs.existsSync(place));
  if (!executablePath) throw new Error("chromium is missing: tests/run installs it");
  const browser = await chromium.launch({
    executablePath,
    headless: true,
    args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });
  const visits = [];
  for (const width of [1440, 390]) {
    for (const scheme of ["light", "dark"]) visits.push(await visit(browser, width, scheme, true));
    visits.push(await visit(browser, width, "light", false));
  }
  const pdf = brief ? null : await paper(browser);
  const sights = brief ? [] : [await eyes(browser, "light"), await eyes(browser, "dark")];
  await browser.close();
  process.stdout.write(JSON.stringify({ visits, pdf, sights }));
})().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
