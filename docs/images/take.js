// Opens a report in the distribution's Chromium and takes two pictures: its top, and the beginning of
// its timeline.
//
//   node take.js REPORT.html TOP.png TIMELINE.png
"use strict";

const fs = require("node:fs");
const path = require("node:path");
const { chromium } = require("playwright-core");

const [report, top, timeline] = process.argv.slice(2);
const places = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];

(async () => {
  const executablePath = places.find((place) => fs.existsSync(place));
  if (!executablePath) throw new Error("chromium is missing: tests/run installs it");
  const browser = await chromium.launch({ executablePath, headless: true, args: ["--no-sandbox", "--disable-gpu"] });
  const page = await browser.newPage({ viewport: { width: 1200, height: 1000 }, colorScheme: "light" });
  await page.goto(`file://${path.resolve(report)}`);
  const width = 1200;
  const story = await page.locator(".story").first().boundingBox();
  await page.screenshot({ path: top, clip: { x: 0, y: 0, width, height: story.y + story.height + 12 }, timeout: 120000 });
  const part = await page.locator(".timeline").first().boundingBox();
  const height = Math.min(part.height, 622);
  await page.screenshot({ path: timeline, fullPage: true, clip: { x: 0, y: part.y, width, height }, timeout: 120000 });
  await browser.close();
})().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
