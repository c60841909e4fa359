// Does with Toxiproxy's client for node, as it is, what its own tests do.
//
//     toxiproxy_client.js URL UPSTREAM
const assert = require("node:assert");
const net = require("node:net");
const { Toxiproxy } = require("toxiproxy-node-client");

const [url, upstream] = process.argv.slice(2);
const server = new Toxiproxy(url);

const listen = (proxy) => Number(proxy.listen.split(":").pop());

/** What comes back of a word, or the error's code. */
const roundTrip = (port) =>
  new Promise((resolve) => {
    const began = process.hrtime.bigint();
    const socket = net.connect(port, "127.0.0.1", () => socket.write("hello"));
    const done = (what) => {
      socket.destroy();
      resolve({ what, ms: Number(process.hrtime.bigint() - began) / 1e6 });
    };
    socket.on("data", (data) => done(data.toString()));
    socket.on("end", () => done("end"));
    socket.on("error", (error) => done(error.code));
  });

const fails = async (action, status) => {
  await assert.rejects(action, new RegExp(`status code ${status}$`));
};

const create = (name, more) => server.createProxy({ name, listen: "localhost:0", upstream, ...more });

const tests = {
  version: async () => assert.match(await server.getVersion(), /2\./),
  create_get_remove: async () => {
    const proxy = await create("one");
    assert.deepStrictEqual((await server.get("one")).toJson(), proxy.toJson());
    await fails(() => create("one"), 409);
    await fails(() => server.get("none"), 404);
    await proxy.remove();
    assert.deepStrictEqual(await server.getAll(), {});
  },
  populate: async () => {
    const proxies = await server.populate([
      { name: "a", listen: "localhost:0", upstream },
      { name: "b", listen: "localhost:0", upstream: "somehost:12345" },
    ]);
    assert.deepStrictEqual(Object.keys(proxies), ["a", "b"]);
    assert.deepStrictEqual(Object.keys(await server.getAll()), ["a", "b"]);
  },
  update: async () => {
    const proxy = await create("one");
    const updated = await proxy.update({ enabled: false, listen: proxy.listen, upstream: "somehost:12345" });
    assert.strictEqual(updated.enabled, false);
    assert.strictEqual(updated.upstream, "somehost:12345");
    assert.strictEqual((await roundTrip(listen(proxy))).what, "ECONNREFUSED");
  },
  every_toxic: async () => {
    const proxy = await create("one");
    for (const [type, attributes] of Object.entries({
      latency: { latency: 1000, jitter: 100 },
      bandwidth: { rate: 1000 },
      slow_close: { delay: 1000 },
      timeout: { timeout: 1000 },
      slicer: { average_size: 1000, delay: 1000, size_variation: 1000 },
      reset_peer: { timeout: 1000 },
      limit_data: { bytes: 1000 },
    })) {
      const toxic = await proxy.addToxic({ type, attributes });
      assert.deepStrictEqual(toxic.attributes, attributes);
      assert.strictEqual(toxic.name, `${type}_downstream`);
      assert.deepStrictEqual((await proxy.getToxic(toxic.name)).toJson(), toxic.toJson());
      await fails(() => proxy.addToxic({ type, attributes }), 409);
      await toxic.remove();
      await fails(() => proxy.getToxic(toxic.name), 404);
    }
  },
  toxic_update: async () => {
    const proxy = await create("one");
    const toxic = await proxy.addToxic({ type: "bandwidth", attributes: { rate: 1000 } });
    const updated = await toxic.update({ attributes: { rate: 2000 }, toxicity: 0.5 });
    assert.strictEqual(updated.attributes.rate, 2000);
    assert.strictEqual(updated.toxicity, 0.5);
  },
  latency: async () => {
    const proxy = await create("one");
    await proxy.addToxic({ type: "latency", attributes: { latency: 150, jitter: 0 } });
    const { what, ms } = await roundTrip(listen(proxy));
    assert.strictEqual(what, "hello");
    assert(ms >= 149, `${ms}`);
  },
  reset_peer: async () => {
    const proxy = await create("one");
    await proxy.addToxic({ type: "reset_peer", attributes: { timeout: 0 } });
    assert.strictEqual((await roundTrip(listen(proxy))).what, "ECONNRESET");
  },
  reset: async () => {
    const proxy = await create("one");
    await proxy.addToxic({ type: "timeout", attributes: { timeout: 0 } });
    await proxy.update({ enabled: false, listen: proxy.listen, upstream });
    await server.reset();
    assert.strictEqual((await roundTrip(listen(proxy))).what, "hello");
    await fails(() => proxy.getToxic("timeout_downstream"), 404);
  },
};

(async () => {
  const failed = [];
  let passed = 0;
  for (const [name, test] of Object.entries(tests)) {
    try {
      await test();
      passed += 1;
    } catch (error) {
      failed.push(`${name}: ${error.message}`);
    }
    for (const proxy of Object.values(await server.getAll())) await proxy.remove();
  }
  console.log(JSON.stringify({ passed, failed }));
})();
