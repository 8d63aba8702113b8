const STATES = {
  Receiving: "the request comes in",
  Composing: "it is woven: store and memory are asked",
  AwaitingHead: "it went up, no answer yet",
  BackingOff: "a pause before the next attempt",
  Streaming: "the answer is relayed as it comes",
  Concluding: "the answer is read for its figures",
};
const BESIDE = new Set(["auxiliary", "count_tokens", "other"]); // calls that stay out of a turn's totals
const FAILED = /^(failed|refused|no answer|upstream broke)/; // what was interrupted has not failed

const promptOf = (words) => words.split("\n").find((line) => line.trim()) || "";
const isBad = (row) => FAILED.test(row.outcome) || (row.status !== null && row.status >= 400) || row.why >= 0;
const intoOf = (row) => (row.fresh || 0) + (row.written || 0) + (row.read || 0);
const wovenTokens = (row) => (row.woven ? row.woven.identity + row.woven.sticky + row.woven.ephemeral : 0);

function totals(rows) {
  const sum = { fresh: 0, written: 0, read: 0, out: 0, woven: 0, bad: 0 };
  for (const row of rows) {
    sum.bad += isBad(row) ? 1 : 0;
    sum.woven += wovenTokens(row);
    if (BESIDE.has(row.kind)) continue;
    for (const kind of ["fresh", "written", "read", "out"]) sum[kind] += row[kind] || 0;
  }
  sum.into = sum.fresh + sum.written + sum.read;
  return sum;
}

const share = (sum) => (sum.into ? `${Math.round((100 * sum.read) / sum.into)} % from the cache` : "");

// How the tokens of a prompt divide into read, written and fresh.
function tokenBar(sum) {
  const bar = el("span", { class: "tokens", "aria-hidden": "true" });
  for (const kind of ["read", "written", "fresh"]) {
    if (sum[kind]) bar.append(el("i", { class: kind, place: { flexGrow: String(sum[kind]) } }));
  }
  return bar;
}

const titleOf = (turn) =>
  promptOf(textOf(turn.prompt)) || (turn.name ? "(no prompt seen)" : "Calls that are part of no turn");

function turnCard(turn, rows) {
  const sum = totals(rows);
  const body = el("div", { class: "body", hidden: true });
  const isPart = rows.length < turn.exchanges.length;
  const agents = turn.lanes.filter((lane) => lane.agent).length;
  const outcome = turn.outcome || (turn.name ? "not over" : "");
  const head = el(
    "button",
    { type: "button", class: "turn", "aria-expanded": "false" },
    el("span", { class: "when" }, moment(turn.start)),
    el("span", { class: "title" }, ...marked(titleOf(turn).slice(0, 240))),
    el(
      "span",
      { class: "chips" },
      isPart ? chip(`${rows.length} of ${turn.exchanges.length} match`, "found") : "",
      chip(plural(turn.exchanges.length, "exchange")),
      turn.tools.length ? chip(plural(turn.tools.length, "tool")) : "",
      agents ? chip(plural(agents, "subagent")) : "",
      chip(took(turn.end - turn.start)),
      sum.into ? chip(`${count(sum.into)} in, ${count(sum.out)} out`, "", share(sum)) : "",
      sum.woven ? chip(`woven ${count(sum.woven)}`, "woven") : "",
      outcome && outcome !== "complete" ? chip(outcome, FAILED.test(outcome) ? "bad" : "warn") : "",
      sum.bad ? chip(`${sum.bad} failed`, "bad") : "",
    ),
  );
  const open = (wanted = body.hidden) => {
    if (wanted && !body.childElementCount) fillTurn(body, turn, rows);
    body.hidden = !wanted;
    head.setAttribute("aria-expanded", String(wanted));
  };
  head.addEventListener("click", () => open());
  const card = el("section", { class: "card", id: `turn-${recording.turns.indexOf(turn) + 1}` }, head, body);
  card.open = open;
  return card;
}

function fillTurn(body, turn, rows) {
  body.append(axis(turn));
  turn.lanes.forEach((lane, place) => {
    const own = rows.filter((row) => row.lane === place).map((row) => ({ at: row.start, row }));
    const tools = turn.tools.filter((tool) => tool.lane === place && toolSays(tool)).map((tool) => ({ at: tool.start, tool }));
    const things = [...own, ...tools].sort((one, other) => one.at - other.at);
    if (!things.length) return;
    const into = el("div", { class: "lane" });
    if (turn.lanes.length > 1 || lane.agent) into.append(laneTitle(lane));
    inPieces(into, things, (it) => (it.row ? exchangeRow(it.row, turn) : toolRow(it.tool, turn)), "row");
    if (lane.lines.length) into.append(laneDialogue(lane, turn));
    body.append(into);
  });
}

const laneTitle = (lane) =>
  el("h3", {}, lane.agent ? `Subagent ${lane.type}` : "Main agent", el("span", { class: "dim" }, ` ${lane.agent}`));

function laneDialogue(lane, turn) {
  const held = el("details", { class: "lane-lines" }, el("summary", {}, "What the turn's machine was told"));
  held.addEventListener("toggle", () => {
    if (held.open && held.childElementCount === 1) held.append(dialogue(lane.lines, turn.start, lane.left));
  });
  return held;
}

function axis(turn) {
  const whole = Math.max(1, turn.end - turn.start);
  const ticks = el("div", { class: "axis", "aria-hidden": "true" });
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    ticks.append(el("span", { place: { left: `${part * 100}%` } }, part ? took(whole * part) : "0"));
  }
  return el("div", { class: "row-grid" }, el("span"), ticks, el("span"));
}

function bar(turn, start, end, kind, title) {
  const whole = Math.max(1, turn.end - turn.start);
  const left = Math.min(99.6, Math.max(0, (100 * (start - turn.start)) / whole));
  const width = Math.min(100 - left, (100 * Math.max(0, end - start)) / whole);
  return el("i", { class: `bar ${kind}`, title, place: { left: `${left}%`, width: `${width}%` } });
}

function foldable(button, draw) {
  const under = el("div", { class: "inside", hidden: true });
  const open = (wanted = under.hidden) => {
    if (wanted && !under.childElementCount) under.append(...draw());
    under.hidden = !wanted;
    button.setAttribute("aria-expanded", String(wanted));
  };
  button.setAttribute("aria-expanded", "false");
  button.addEventListener("click", () => open());
  const whole = el("div", { class: "fold" }, button, under);
  whole.open = open;
  return whole;
}

function exchangeRow(row, turn) {
  const track = el("span", { class: "track" });
  for (const [state, start, end] of row.phases) {
    track.append(bar(turn, start, end, `s-${state}`, `${state}: ${took(end - start)}`));
  }
  const kind = row.kind === "main" || row.kind === "subagent" ? "" : row.kind;
  const button = el(
    "button",
    { type: "button", class: "row row-grid" },
    el(
      "span",
      { class: "label" },
      el("b", {}, `#${row.number} `),
      row.model || `${row.method} ${row.path}`,
      " ",
      kind && kind !== "other" ? chip(kind, "kind") : "",
      row.woven && row.woven.outcome === "unwoven" ? chip("unwoven", "bad") : "",
      wovenTokens(row) ? chip("woven", "woven", `${count(wovenTokens(row))} tokens`) : "",
      row.woven && row.woven.reworded.length ? chip("reworded", "woven") : "",
      row.attempts > 1 ? chip(`${row.attempts} attempts`, "warn") : "",
      isBad(row) ? chip(row.status >= 400 ? String(row.status) : row.outcome, "bad") : "",
      row.outcome !== "complete" && !isBad(row) ? chip(row.outcome, "warn") : "",
      row.stop && row.outcome === "complete" && !isBad(row) ? el("span", { class: "dim" }, row.stop) : "",
    ),
    track,
    el(
      "span",
      { class: "figures" },
      el("span", { class: "dim" }, took(row.end - row.start)),
      row.fresh === null && row.out === null
        ? ""
        : el("span", {}, `${count(intoOf(row))}${row.out === null ? "" : ` → ${count(row.out)}`}`),
      tokenBar(row),
    ),
  );
  const whole = foldable(button, () => exchangeDetail(row));
  whole.id = `exchange-${row.number}`;
  return whole;
}

function toolRow(tool, turn) {
  const button = el(
    "button",
    { type: "button", class: "row row-grid tool" },
    el("span", { class: "label" }, "tool ", el("b", {}, tool.name), tool.error ? chip(tool.error, "bad") : ""),
    el("span", { class: "track" }, bar(turn, tool.start, tool.end, "s-tool", `${tool.name}: ${took(tool.end - tool.start)}`)),
    el("span", { class: "figures" }, el("span", { class: "dim" }, took(tool.end - tool.start))),
  );
  return foldable(button, () => [
    el("h4", {}, "Given"),
    prose(tool.given, "given"),
    el("h4", {}, "Result"),
    prose(tool.result, "result"),
  ]);
}
