// A program behind opossum's circuit breakers: `/NAME` asks PEER_<NAME> through the breaker of that
// name, at most a second after it opened. They differ in when they open alone.
const http = require("node:http");
const CircuitBreaker = require("opossum");

const SETTINGS = {
  half: { errorThresholdPercentage: 50 },
  most: { errorThresholdPercentage: 80 },
  twelve: { errorThresholdPercentage: 50, volumeThreshold: 12 },
  // More than ever come within its window.
  crowd: { errorThresholdPercentage: 50, volumeThreshold: 30 },
};

const breakers = new Map();
for (const [name, settings] of Object.entries(SETTINGS)) {
  const peer = process.env["PEER_" + name.toUpperCase()];
  const ask = async () => {
    const answer = await fetch(peer + "/thing");
    await answer.arrayBuffer();
    if (!answer.ok) throw new Error(String(answer.status));
  };
  const options = { timeout: false, rollingCountTimeout: 1000, resetTimeout: 1000, ...settings };
  breakers.set("/" + name, new CircuitBreaker(ask, options));
}

const server = http.createServer(async (request, response) => {
  const breaker = breakers.get(request.url);
  if (breaker) {
    response.statusCode = await breaker.fire().then(() => 200, () => 503);
  }
  response.end();
});
server.listen(Number(process.argv[2]), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
