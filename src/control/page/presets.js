// What one click can do, in everyday words. Only what the server says the protocol can carry is offered.

const HANG = { label: "Time out", says: "takes requests and never answers", fault: { kind: "hang" } };
const SLOW = { label: "Slow", says: "every answer comes 2 s later", fault: { kind: "latency", delay: "2s" } };
const RESET = { label: "Reset", says: "every connection is cut with a reset", fault: { kind: "reset" } };
const REFUSE = { label: "Refuse", says: "nobody listens: connections are refused", fault: { kind: "refuse" } };
const LOST = { label: "Lose replies", says: "requests are carried out, and the answer never comes", fault: { kind: "lost-reply" } };
const SLOW_LINE = { label: "Thin line", says: "at most 8 KiB a second on each connection", fault: { kind: "bandwidth", rate: "8KiB/s" } };
const NO_CONNECT = { label: "No connect", says: "connections are not answered, so that connecting times out", fault: { kind: "no-accept" } };

const error = (label, says, keys) => ({ label, says, fault: { kind: "error", ...keys } });

const PRESETS = {
  http: [
    HANG,
    SLOW,
    error("500s", "every request is answered with status 500", { status: 500 }),
    error("Some 500s", "three in ten requests are answered with status 500", { status: 500, share: "30%" }),
    error("503", "every request gets the 503 page of a proxy", { error: "nginx-503" }),
    RESET,
    REFUSE,
  ],
  s3: [
    HANG,
    SLOW,
    error("500s", "every request is answered with S3’s InternalError", { error: "InternalError" }),
    error("Some 500s", "three in ten requests are answered with S3’s InternalError", { error: "InternalError", share: "30%" }),
    error("Slow down", "every request is answered with S3’s 503 SlowDown", { error: "SlowDown" }),
    LOST,
    RESET,
    REFUSE,
  ],
  pusher: [HANG, SLOW, error("503", "every request is answered with status 503", { status: 503 }), RESET, REFUSE],
  redis: [
    HANG,
    SLOW,
    error("Loading", "every command is answered with LOADING: the data set is being read", { error: "LOADING" }),
    error("Full", "every command is answered with OOM: memory is used up", { error: "OOM" }),
    LOST,
    RESET,
    REFUSE,
  ],
  postgres: [
    HANG,
    SLOW,
    error("Too many", "every statement is answered with 53300: too many connections", { error: "53300" }),
    error("Deadlocks", "three in ten statements are answered with 40P01: a deadlock was found", { error: "40P01", share: "30%" }),
    { label: "Restart", says: "sessions end, nobody listens for 5 s, then it starts up for 2 s", fault: { kind: "restart", down: "5s", starting: "2s" } },
    RESET,
    REFUSE,
  ],
  mysql: [
    HANG,
    SLOW,
    error("Deadlocks", "three in ten statements are answered with 1213: a deadlock was found", { error: "1213", share: "30%" }),
    { label: "Restart", says: "sessions end and nobody listens for 5 s", fault: { kind: "restart", down: "5s" } },
    LOST,
    RESET,
    REFUSE,
  ],
  tcp: [HANG, SLOW, SLOW_LINE, RESET, REFUSE, NO_CONNECT],
};

/** What can be done to a dependency of this protocol by one click. */
export function presets(protocol, kinds) {
  const carried = (kind) => kinds.some((one) => one.name === kind && one.protocols.includes(protocol));
  return (PRESETS[protocol] ?? PRESETS.tcp).filter(({ fault }) => carried(fault.kind));
}

const PASSING = ["on", "ttl", "lease", "label"];

/** What tells two faults apart, whatever they are on and however long. */
export function likeness(kind, keys) {
  const own = Object.entries({ ...keys, kind }).filter(([name]) => !PASSING.includes(name));
  return JSON.stringify(own.sort(([one], [other]) => (one < other ? -1 : 1)));
}

/** What clients call the address of such a dependency. */
export function address(protocol, listen) {
  const schemes = { http: "http", s3: "http", pusher: "http", postgres: "postgres", redis: "redis", mysql: "mysql" };
  return schemes[protocol] ? `${schemes[protocol]}://${listen}` : listen;
}

/** How protocols are called in the form, and what may stand behind them. */
export const PROTOCOLS = [
  ["http", "HTTP: an API, a web service", "127.0.0.1:9000"],
  ["s3", "S3: an object store", "127.0.0.1:9000"],
  ["postgres", "PostgreSQL", "127.0.0.1:5432"],
  ["mysql", "MySQL or MariaDB", "127.0.0.1:3306"],
  ["redis", "Redis", "127.0.0.1:6379"],
  ["pusher", "Pusher Channels", "127.0.0.1:6001"],
  ["tcp", "anything else over TCP", "127.0.0.1:5672"],
];

/** The groups of kinds, in words. */
export const GROUPS = [
  ["connection", "Connections"],
  ["stream", "Bytes"],
  ["message", "Requests and answers"],
  ["capacity", "What it can carry"],
];
