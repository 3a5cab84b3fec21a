// Drives Chromium with playwright-core: each command acts on one page, and its answer is the event "done" or "failed".
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";
import { config, obey, say } from "./harness.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const browser = await chromium.launch({
  executablePath: config.executable,
  args: ["--no-sandbox", "--disable-dev-shm-usage"], // Chromium does not start as root with its sandbox
});
let page;
let problems = [];

const commands = {
  /** Open a window of its own, with its own cookies. */
  async window({ options }) {
    await page?.context().close();
    const context = await browser.newContext({ viewport: { width: 1280, height: 800 }, reducedMotion: "reduce", ...options });
    context.setDefaultTimeout(config.patience * 1000);
    page = await context.newPage();
    problems = [];
    page.on("pageerror", (error) => problems.push(error.stack));
    page.on("console", (message) => {
      // Chromium reports each response that is an error, and each WebSocket that it cannot open; the tests look at what
      // the page makes of it.
      const isOfNetwork = /^(Failed to load resource|WebSocket connection to )/.test(message.text());
      if (message.type() === "error" && !isOfNetwork) problems.push(message.text());
    });
  },
  goto: ({ url }) => page.goto(url).then(() => null),
  click: ({ role, name, exact }) => page.getByRole(role, { name, exact }).first().click(),
  fill: ({ label, value }) => page.getByLabel(label).first().fill(value),
  select: ({ label, value }) => page.getByLabel(label).first().selectOption(value).then(() => null),
  press: ({ key }) => page.keyboard.press(key),
  see: ({ text }) => page.getByText(text).filter({ visible: true }).first().waitFor(),
  text: ({ selector }) => page.locator(selector).first().innerText(),
  evaluate: ({ script }) => page.evaluate(script),
  /** Look again and again: waitForFunction would need 'unsafe-eval' in the page's Content-Security-Policy. */
  async until({ script }) {
    for (const end = Date.now() + config.patience * 1000; !(await page.evaluate(script)); await page.waitForTimeout(30)) {
      if (Date.now() > end) throw new Error(`it never came; the page shows: ${await page.innerText("body")}`);
    }
  },
  shot: ({ path, height }) => {
    const { width } = page.viewportSize();
    return page.screenshot({ path, clip: { x: 0, y: 0, width, height } }).then(() => null);
  },
  problems: async () => problems,
  /** The serious findings of axe-core. */
  async axe() {
    await page.evaluate(AXE);
    const { violations } = await page.evaluate("axe.run()");
    const serious = violations.filter(({ impact }) => ["serious", "critical"].includes(impact));
    return serious.map(({ id, nodes }) => ({ id, nodes: nodes.map(({ html, failureSummary }) => `${html}: ${failureSummary}`) }));
  },
};

let turn = Promise.resolve();
const handlers = Object.entries(commands).map(([name, command]) => [name, (fields) => {
  turn = turn.then(() => command(fields)).then(
    (value) => say("done", { value: value ?? null }),
    (error) => say("failed", { reason: error.message }),
  );
}]);
obey(Object.fromEntries(handlers));
