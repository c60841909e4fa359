// A pusher-js client, driven by JSON lines on stdin; says on stdout what happens to it, each line
// with the milliseconds since the start. The first argument says where to connect.
"use strict";

const crypto = require("node:crypto");
const readline = require("node:readline");
const Pusher = require("pusher-js");

const options = JSON.parse(process.argv[2]);
const began = process.hrtime.bigint();

function say(what, more) {
  const at = Number((process.hrtime.bigint() - began) / 1000n) / 1000;
  process.stdout.write(JSON.stringify({ at, what, ...more }) + "\n");
}

// Private and presence channels are signed here, as an app's own server would.
function authorise({ socketId, channelName }, answer) {
  let text = `${socketId}:${channelName}`;
  const auth = {};
  if (channelName.startsWith("presence-")) {
    auth.channel_data = JSON.stringify({ user_id: options.user, user_info: {} });
    text += `:${auth.channel_data}`;
  }
  const signed = crypto.createHmac("sha256", options.secret).update(text).digest("hex");
  auth.auth = `${options.key}:${signed}`;
  answer(null, auth);
}

const pusher = new Pusher(options.key, {
  cluster: "",
  wsHost: options.host,
  wsPort: options.port,
  wssPort: options.port,
  forceTLS: options.tls,
  enabledTransports: ["ws", "wss"],
  disableStats: true,
  channelAuthorization: { customHandler: authorise },
  ...(options.more || {}),
});

pusher.connection.bind("state_change", ({ previous, current }) =>
  say("state", { previous, current }),
);
pusher.connection.bind("error", (error) => {
  // The handshake wraps what an open connection says plainly.
  const data = error && (error.data || (error.error && error.error.data));
  say("error", { type: error && error.type, data: data || null });
});
pusher.bind_global((event, data) => {
  if (!event.startsWith("pusher:")) say("event", { event, data });
});

readline.createInterface({ input: process.stdin }).on("line", (line) => {
  const command = JSON.parse(line);
  if (command.do === "subscribe") {
    const channel = pusher.subscribe(command.channel);
    channel.bind("pusher:subscription_succeeded", () =>
      say("subscribed", { channel: command.channel }),
    );
    channel.bind("pusher:member_added", ({ id }) =>
      say("event", { event: "member_added", data: { id } }),
    );
  } else if (command.do === "trigger") {
    pusher.channel(command.channel).trigger(command.event, command.data);
  } else if (command.do === "quit") {
    process.exit(0);
  }
}).on("close", () => process.exit(0));
