// A program behind opossum's circuit breaker: `/ask` asks PEER, at most a second after it opened.
const http = require("node:http");
const CircuitBreaker = require("opossum");

const ask = async () => {
  const answer = await fetch(process.env.PEER + "/thing");
  await answer.arrayBuffer();
  if (!answer.ok) throw new Error(String(answer.status));
};
const breaker = new CircuitBreaker(ask, {
  timeout: false,
  errorThresholdPercentage: 50,
  rollingCountTimeout: 1000,
  resetTimeout: 1000,
});

const server = http.createServer(async (request, response) => {
  if (request.url !== "/healthz") {
    response.statusCode = await breaker.fire().then(() => 200, () => 503);
  }
  response.end();
});
server.listen(Number(process.argv[2]), "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
