// A program with one client of Channels, pusher-js as it comes, which subscribes to one channel after the other.
// With STUBBORN=1 it connects again by itself where pusher-js stays away, as it was told to. With SILENT=1 it
// subscribes to nothing.
const http = require("node:http");
const Pusher = require("pusher-js");

const { HOST, PORT, KEY, STUBBORN, SILENT } = process.env;
const pusher = new Pusher(KEY, {
  cluster: "",
  wsHost: HOST,
  wsPort: PORT,
  forceTLS: false,
  enabledTransports: ["ws"],
  disableStats: true,
});
if (STUBBORN) {
  pusher.connection.bind("disconnected", () => setTimeout(() => pusher.connect(), 300));
}
let count = 0;
setInterval(() => {
  if (!SILENT && pusher.connection.state === "connected") pusher.subscribe(`news-${(count += 1)}`);
}, 200);

const server = http.createServer((request, response) => {
  response.statusCode = pusher.connection.socket_id || request.url !== "/healthz" ? 200 : 503;
  response.end();
});
server.listen(Number(process.argv[2]), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
