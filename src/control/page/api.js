// Asks the server, and hears of what happens: one connection on which events are written as they come.
// EventSource would do, could it send the token.

const KEY = "brownout-token";

/** What the server said no to: its problems, each with place, what is wrong and a hint. */
export class Refused extends Error {
  constructor(status, problems) {
    super(problems.map(({ what, hint }) => (hint ? `${what} (${hint})` : what)).join("; ") || `the server answered ${status}`);
    this.status = status;
    this.problems = problems;
  }
}

let whenAsked = null;

/** Who is asked for the token. */
export function onToken(ask) {
  whenAsked = ask;
}

export const token = () => sessionStorage.getItem(KEY);
export const remember = (text) => sessionStorage.setItem(KEY, text);

function headers(more = {}) {
  const known = token();
  return known ? { ...more, Authorization: `Bearer ${known}` } : more;
}

async function problems(response) {
  const text = await response.text();
  try {
    const { error } = JSON.parse(text);
    if (Array.isArray(error.problems)) return error.problems;
  } catch {
    // It is no answer of the API: its text says what is wrong.
  }
  return [{ place: "", what: text.slice(0, 300) || response.statusText }];
}

async function checked(response) {
  if (response.ok) return response;
  if (response.status === 401 && whenAsked) whenAsked(Boolean(token()));
  throw new Refused(response.status, await problems(response));
}

/** Asks; gives what was answered. A server that cannot be reached is a `TypeError`. */
export async function ask(method, path, body) {
  const changes = method !== "GET";
  const said = changes ? { "X-Brownout": "1" } : {};
  if (body !== undefined) said["Content-Type"] = "application/json";
  const options = { method, headers: headers(said), cache: "no-store" };
  if (body !== undefined) options.body = JSON.stringify(body);
  const response = await checked(await fetch(`/api/v1${path}`, options));
  const text = await response.text();
  return text === "" ? null : JSON.parse(text);
}

/** Fetches a file of the server. */
export async function file(path) {
  return (await checked(await fetch(`/api/v1${path}`, { headers: headers() }))).blob();
}

/** Without a byte for so long the connection is taken to be lost, in ms. Every half second one is due. */
const SILENCE_MAX = 5000;

/** How often the silence is looked at, in ms. */
const LOOK = 500;

/** Hears events until the connection ends; then throws. */
export async function listen(path, hear) {
  const ended = new AbortController();
  let heard = performance.now();
  let looked = heard;
  const timer = setInterval(() => {
    const now = performance.now();
    // While this page itself stood still nothing could be heard: that is no silence of the server's.
    if (now - looked > 3 * LOOK) heard = now;
    looked = now;
    if (now - heard > SILENCE_MAX) ended.abort();
  }, LOOK);
  try {
    const response = await checked(await fetch(`/api/v1${path}`, { headers: headers({ Accept: "text/event-stream" }), signal: ended.signal, cache: "no-store" }));
    const reader = response.body.getReader();
    const decoder = new TextDecoder();
    let kept = "";
    for (;;) {
      const { done, value } = await reader.read();
      if (done) throw new Error("the server ended the connection");
      heard = performance.now();
      kept += decoder.decode(value, { stream: true });
      for (let end = kept.indexOf("\n\n"); end >= 0; end = kept.indexOf("\n\n")) {
        event(kept.slice(0, end), hear);
        kept = kept.slice(end + 2);
      }
    }
  } finally {
    clearInterval(timer);
    ended.abort();
  }
}

function event(text, hear) {
  let name = "message";
  const data = [];
  for (const line of text.split("\n")) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  if (data.length > 0) hear(name, JSON.parse(data.join("\n")));
}
