// A server of reports: JSON in, a summary out, every third report kept, the newest fifty of them.
//
//     node reports.js PORT
const http = require("http");
const cache = new Map();
const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", () => {
    const text = Buffer.concat(parts);
    const records = JSON.parse(text);
    if (parseInt(request.url.slice(2)) % 3 === 0) cache.set(request.url, text);
    if (cache.size > 50) cache.delete(cache.keys().next().value);
    const summary = { report: request.url, records: records.length, values: records.map((one) => one.values.length) };
    response.end(JSON.stringify(summary));
  });
});
server.listen(+process.argv[2], "127.0.0.1");
process.on("SIGTERM", () => process.exit(0));
