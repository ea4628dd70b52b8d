// Asks this server's own endpoints with the key that was typed in. Text from outside is only ever set as text.
"use strict";

const KEY = "rheostat-key";
const POINTS = ["attn_out", "resid_mid", "mlp_out", "resid_post"];
const at = (id) => document.getElementById(id);
let model = "", floor = 0;

class Refused extends Error {}

async function send(path, body) {
  const headers = { Authorization: `Bearer ${sessionStorage.getItem(KEY) || ""}` };
  if (body) headers["Content-Type"] = "application/json";
  const answer = await arriving(fetch(path, { method: body ? "POST" : "GET", headers, body: body && JSON.stringify(body) }));
  if (answer.status === 401) forget();
  if (answer.ok) return answer;
  const { error } = await arriving(answer.json());
  throw new Refused(error ? error.message : `The server refused with ${answer.status}.`);
}

async function arriving(coming) {
  try {
    return await coming;
  } catch (error) {
    throw new Refused("The server does not answer.");
  }
}

async function ask(path, body) {
  return arriving((await send(path, body)).json());
}

async function* streamed(path, body) {
  const answer = await send(path, { ...body, stream: true });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { value, done } = await arriving(reader.read());
    if (done) throw new Refused("The server ended in the middle.");
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines.filter((one) => one.startsWith("data: "))) {
      if (line === "data: [DONE]") return;
      const event = JSON.parse(line.slice("data: ".length));
      if (event.error) throw new Refused(event.error.message);
      yield event;
    }
  }
}

function element(name, text, attributes = {}) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function drawn(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function say(text, bad = false) {
  at("said").textContent = text;
  at("said").classList.toggle("bad", bad);
}

async function busy(button, work) {
  if (button.getAttribute("aria-disabled") === "true") return;
  button.setAttribute("aria-disabled", "true"); // `disabled` would take the focus away
  say("Asking …");
  try {
    say((await work()) || "Done.");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    say(error.message, true);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

// --- the key ---------------------------------------------------------------------------------------------------------

function forget() {
  sessionStorage.removeItem(KEY);
  at("key-form").hidden = false;
  at("grants").hidden = true;
}

async function enter() {
  const [key, models] = [await ask("/v1/key"), await ask("/v1/models")];
  model = models.data[0].id;
  floor = key.floor;
  at("key-form").hidden = true;
  at("grants").hidden = false;
  at("grants-text").textContent = `${model}, key ${key.id} of ${key.name}, floor ${floor}`;
  at("draw").max = key.draws - 1;
  at("steer").hidden = key.steers_by.length === 0;
  at("direction").replaceChildren(element("option", "none", { value: "" }), ...key.steers_by.map((name) => element("option", name)));
  at("plain-title").textContent = floor > 0 ? `Least impairment of this key: ${floor}` : "Original";
  if (Number(at("dial").value) < floor) turn(floor);
  return `You may ask ${key.endpoints.join(", ")}.`;
}

at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem(KEY, at("key").value.trim());
  at("key").value = "";
  busy(event.submitter || at("key-form").querySelector("button"), async () => {
    const told = await enter();
    at("prompt").focus();
    return told;
  });
});

at("forget").addEventListener("click", () => {
  forget();
  at("key").focus();
  say("The key is forgotten.");
});

// --- the playground --------------------------------------------------------------------------------------------------

function turn(value) {
  at("dial").value = value;
  at("dial-shown").textContent = Number(at("dial").value).toFixed(2);
}

at("dial").addEventListener("input", () => turn(at("dial").value));

function edits() {
  const text = at("edits").value.trim();
  if (!text) return [];
  try {
    const found = JSON.parse(text);
    return Array.isArray(found) ? found : found.edits || [found];
  } catch (error) {
    throw new Refused(`The edits are no JSON: ${error.message}`);
  }
}

function steering() {
  const direction = at("direction").value;
  return direction ? [{ direction, strength: Number(at("strength").value) }] : [];
}

function dialled() {
  const dial = { impairment: Math.max(Number(at("dial").value), 0), draw: Number(at("draw").value) };
  return { model, prompt: at("prompt").value, ...dial, steering: steering(), edits: edits() };
}

async function write(place, body) {
  const text = element("b", "");
  place.classList.remove("bad");
  place.setAttribute("aria-busy", "true"); // read aloud once, when it is whole
  place.replaceChildren(element("span", `${body.prompt} …`, { class: "asked" }));
  try {
    for await (const { choices } of streamed("/v1/completions", body)) {
      if (!text.isConnected) place.replaceChildren(element("span", body.prompt, { class: "asked" }), text);
      text.append(...choices.map((choice) => choice.text));
    }
    return true;
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    place.classList.add("bad");
    place.textContent = error.message;
    return false;
  } finally {
    place.removeAttribute("aria-busy");
  }
}

at("play").addEventListener("submit", (event) => {
  event.preventDefault();
  busy(at("play").querySelector("button"), async () => {
    const body = { ...dialled(), max_tokens: Number(at("tokens").value), temperature: 0 };
    const written = await Promise.all([write(at("plain"), { ...body, impairment: floor, steering: [], edits: [] }), write(at("changed"), body)]);
    return written.every(Boolean) ? "Both texts are written." : "Refused; the reason stands where the text would.";
  });
});

at("play").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("play").requestSubmit();
});

// --- the lens --------------------------------------------------------------------------------------------------------

function lensTable(rows) {
  const best = new Map(rows.filter((row) => row.rank === 1).map((row) => [`${row.block} ${row.point}`, row]));
  const points = POINTS.filter((point) => rows.some((row) => row.point === point));
  const blocks = [...new Set(rows.map((row) => row.block))].sort((a, b) => b - a);
  const table = element("table");
  table.append(element("caption", "The likeliest token at each point; the last block on top.", { class: "skip" }));
  const head = table.createTHead().insertRow();
  for (const name of ["block", ...points]) head.append(element("th", name, { scope: "col" }));
  const body = table.createTBody();
  for (const block of blocks) {
    const line = body.insertRow();
    line.append(element("th", block, { scope: "row", class: "number" }));
    for (const point of points) line.append(lensCell(best.get(`${block} ${point}`)));
  }
  return table;
}

function lensCell(row) {
  const cell = element("td", row ? JSON.stringify(row.token).slice(1, -1).replace(/\\(["\\])/g, "$1").replace(/\s/g, "␣") : "");
  if (row && typeof row.probability === "number") {
    cell.append(" ", element("small", row.probability.toFixed(2)));
    cell.style.setProperty("--share", `${Math.round(55 * row.probability)}%`);
  }
  return cell;
}

at("look").addEventListener("click", () =>
  busy(at("look"), async () => {
    const answer = await ask("/v1/lens", { ...dialled(), positions: "last", k: 1 });
    at("lens-table").replaceChildren(lensTable(answer.rows));
    at("lens-table").focus();
    return "The lens is read.";
  }),
);

// --- the curves ------------------------------------------------------------------------------------------------------

const WIDTH = 640, HEIGHT = 310, LEFT = 44, RIGHT = 100, TOP = 40, BOTTOM = 44;
const across = (level) => LEFT + (1 - level) * (WIDTH - LEFT - RIGHT);
const up = (share) => HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM);

function curve(record) {
  const { points, protocol, outcome } = record;
  const picture = drawn("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `Right answers by impairment, ${record.name}` });
  for (const tick of [0, 0.25, 0.5, 0.75, 1]) {
    picture.append(drawn("line", { class: "axis", x1: LEFT, x2: across(0), y1: up(tick), y2: up(tick) }));
    picture.append(drawn("text", { class: "quiet", x: LEFT - 6, y: up(tick) + 4, "text-anchor": "end" }, tick));
    picture.append(drawn("text", { class: "quiet", x: across(tick), y: HEIGHT - BOTTOM + 17, "text-anchor": "middle" }, tick));
  }
  picture.append(drawn("text", { x: (LEFT + across(0)) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, "impairment, from the most to none"));
  picture.append(drawn("text", { x: 6, y: 14 }, "share of right answers, with its bounds"));
  const over = points.map((point) => `${across(point.level)},${up(point.high)}`);
  const under = points.map((point) => `${across(point.level)},${up(point.low)}`).reverse();
  picture.append(drawn("polygon", { class: "band", points: [...over, ...under].join(" ") }));
  picture.append(drawn("polyline", { class: "line", points: points.map((point) => `${across(point.level)},${up(point.share)}`).join(" ") }));
  for (const point of points) picture.append(drawn("circle", { class: "dot", r: 3.5, cx: across(point.level), cy: up(point.share) }));
  const y = up(protocol.threshold);
  picture.append(drawn("line", { class: "threshold", x1: LEFT, x2: across(0), y1: y, y2: y }));
  picture.append(drawn("text", { x: across(0) + 6, y: y + 4 }, `threshold ${protocol.threshold}`));
  if (outcome.recommended !== null) {
    const x = across(outcome.recommended);
    picture.append(drawn("line", { class: "recommended", x1: x, x2: x, y1: up(0), y2: up(1) }));
    picture.append(drawn("text", { x, y: up(1) - 5, "text-anchor": "middle" }, `recommended ${outcome.recommended}`));
  }
  return picture;
}

function numbers(record) {
  const table = element("table");
  const head = table.createTHead().insertRow();
  for (const name of ["impairment", "right", "answers", "share", "low", "high"]) head.append(element("th", name, { scope: "col", class: "number" }));
  const body = table.createTBody();
  for (const point of record.points) {
    const line = body.insertRow();
    for (const value of [point.level, point.n_right, point.n_answers]) line.append(element("td", value, { class: "number" }));
    for (const value of [point.share, point.low, point.high]) line.append(element("td", value.toFixed(3), { class: "number" }));
  }
  return table;
}

function evaluation(record) {
  const article = element("article");
  const { outcome } = record;
  article.append(element("h3", `${record.name}: ${record.model.id}, ${record.task.name}`));
  const told = outcome.recommended === null ? "No level is recommended." : `Recommended for release: impairment ${outcome.recommended} or more.`;
  article.append(element("p", `${told} ${outcome.reason}`));
  if (record.points.length) {
    const shown = element("div", undefined, { class: "scroll", tabindex: "0", role: "region", "aria-label": `Curve and numbers, ${record.name}` });
    shown.append(curve(record), numbers(record));
    article.append(shown);
  }
  if (record.refusals.length) {
    const refused = record.refusals.map((one) => `${one.level} (${one.code || one.status})`);
    article.append(element("p", `Refused on the way: ${refused.join(", ")}.`));
  }
  return article;
}

at("show").addEventListener("click", () =>
  busy(at("show"), async () => {
    const { data } = await ask("/ui/records");
    at("curve-list").replaceChildren(...data.map(evaluation));
    return data.length ? `Evaluations shown: ${data.length}.` : "There are no records in the server's folder of records.";
  }),
);

// --- the start -------------------------------------------------------------------------------------------------------

if (sessionStorage.getItem(KEY)) busy(at("forget"), enter);
else at("key").focus();
