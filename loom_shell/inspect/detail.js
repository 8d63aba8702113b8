const MARKS = {
  identity: "woven in: identity",
  sticky: "woven in: sticky, stays in its place",
  ephemeral: "woven in: ephemeral, this request only",
  added: "added by the Loom",
  reworded: "the profile's words in the place of the client's",
  cut: "the Loom's metadata, cut out",
};

function exchangeDetail(row) {
  const parts = [facts(row)];
  const inside = row.inside;
  if (!inside) {
    parts.push(el("p", { class: "warn" }, "What is inside is left out: this page would be too long. Choose a session with --session."));
    return parts;
  }
  if (inside.asked) parts.push(section("What went up", asked(inside.asked, row)));
  if (inside.answer.length) parts.push(section("What came back", inside.answer.map((it) => block(it))));
  parts.push(section("Dialogue", [dialogue(inside.lines, row.start, inside.left)]));
  if (inside.headers >= 0) parts.push(folded("Header lines of the request", () => [prose(inside.headers, "header lines")]));
  return parts;
}

const section = (title, parts) => el("section", { class: "part" }, el("h4", {}, title), ...parts);

// A part that is drawn when it is opened.
function folded(title, draw, isOpen = false) {
  const held = el("details", { class: "held" }, el("summary", {}, ...[title].flat()));
  const fill = () => {
    if (held.childElementCount === 1) held.append(...draw());
  };
  held.addEventListener("toggle", () => held.open && fill());
  if (isOpen) {
    fill();
    held.open = true;
  }
  return held;
}

function facts(row) {
  const list = el("dl", { class: "facts" });
  const fact = (name, ...words) => words.join("") && list.append(el("div", {}, el("dt", {}, name), el("dd", {}, ...words)));
  fact("Request", row.method ? `${row.method} ${row.path}` : "");
  fact("Began", `${moment(row.start, true)}, took ${took(row.end - row.start)}`);
  fact("Answer", [row.status === null ? "none" : String(row.status), row.outcome, row.stop].filter(Boolean).join(", "));
  fact("Trouble", textOf(row.why));
  fact("Attempts", row.attempts > 1 ? String(row.attempts) : "");
  fact("Sizes", `${bytes(row.received)} from the client, ${bytes(row.relayed)} back`);
  if (row.fresh !== null || row.out !== null) {
    const cached = `${count(row.read)} read from the cache, ${count(row.written)} written there, ${count(row.fresh)} fresh`;
    fact("Tokens", `${cached}; ${count(row.out)} out `);
    list.lastElementChild.lastElementChild.append(tokenBar(row));
  }
  fact("Metadata", row.cut ? `${plural(row.cut, "block")} cut out` : "");
  fact("Woven", row.woven ? wovenWords(row.woven) : "");
  fact("Compaction", row.woven ? row.woven.compaction : "");
  if (row.phases.length) {
    const steps = row.phases.map(([state, start, end]) => el("span", { class: `state s-${state}` }, `${state} ${took(end - start)}`));
    list.append(el("div", {}, el("dt", {}, "States"), el("dd", { class: "states" }, ...steps)));
  }
  fact("Id", row.id);
  return list;
}

function wovenWords(woven) {
  const kinds = ["identity", "sticky", "ephemeral"].filter((kind) => woven[kind]);
  const parts = [`profile ${woven.profile}`];
  parts.push(kinds.length ? kinds.map((kind) => `${kind} ${count(woven[kind])}`).join(" + ") + " tokens" : woven.outcome);
  if (woven.replayed) parts.push(`${woven.replayed} woven again`);
  if (woven.memories) parts.push(woven.memories === 1 ? "1 memory" : `${woven.memories} memories`);
  if (woven.recall) parts.push(`memory: ${woven.recall}`);
  if (woven.reworded.length) parts.push(`reworded: ${woven.reworded.join(", ")}`);
  if (woven.trouble) parts.push(`trouble: ${woven.trouble}`);
  return parts.join("; ");
}

function asked(told, row) {
  const parts = [];
  if (told.tools.length) {
    parts.push(folded(plural(told.tools.length, "tool") + " on offer", () => [el("p", { class: "names" }, told.tools.join(", "))]));
  }
  if (told.system.length) {
    const has = told.system.some((it) => it[2]);
    const title = [`System prompt, ${plural(told.system.length, "block")} `, has ? chip("woven", "woven") : ""];
    parts.push(folded(title.filter(Boolean), () => told.system.map(block), has && !told.earlier));
  }
  if (told.earlier) {
    parts.push(el("p", { class: "dim" }, `Sent before: ${plural(told.earlier, "message")}. Of those only what the Loom changed is shown.`));
  }
  if (told.left) parts.push(el("p", { class: "dim" }, `${plural(told.left, "message")} are left out here.`));
  for (const [number, role, blocks, left] of told.messages) {
    const name = [`${role} `, el("span", { class: "dim" }, `message ${number} `)];
    if (number <= told.earlier) {
      const marks = [...new Set(blocks.map((it) => it[2]))].map((mark) => chip(MARKS[mark] || mark, `m-${mark}`));
      parts.push(folded([...name, ...marks], () => blocks.map(block)));
      continue;
    }
    const more = left ? el("p", { class: "dim" }, `${plural(left, "block")} more`) : "";
    parts.push(el("div", {}, el("h5", {}, ...name), ...blocks.map(block), more));
  }
  if (!told.messages.length) parts.push(el("p", { class: "dim" }, "No message could be read."));
  return parts;
}

function block([kind, text, mark, marker, tokens, was, holds]) {
  const head = el("p", { class: "block-head" }, el("span", { class: "dim" }, kind));
  if (mark) head.append(chip(MARKS[mark] || mark, `m-${mark}`));
  if (tokens) head.append(el("span", { class: "dim" }, `${plural(tokens, "token")}`));
  if (holds) head.append(el("span", { class: "dim" }, holds));
  if (marker) head.append(chip(`◆ cache ${marker}`, "cache", "The client's cache marker: what is before it may be read from the cache"));
  const made = el("div", { class: `block ${mark ? `m-${mark}` : ""}` }, head);
  if (text >= 0 || was < 0) made.append(prose(text, kind));
  if (was >= 0) made.append(folded("The client's own words", () => [prose(was, "the client's words")]));
  return made;
}

function dialogue(lines, start, left) {
  const list = el("ol", { class: "dialogue" });
  const draw = ([at, sign, name, text, state, times, size]) => {
    const kind = sign === "<<" ? "action" : sign === ">>" ? "event" : "told";
    const run = [times > 1 ? `× ${count(times)}` : "", size ? bytes(size) : ""].filter(Boolean).join(", ");
    return el(
      "li",
      { class: kind },
      el("span", { class: "at" }, `${at >= start ? "+" : "−"}${took(Math.abs(at - start))}`),
      el("span", { class: "sign", title: { action: "an action", event: "an event from outside", told: "an event another machine told" }[kind] }, sign),
      el(
        "span",
        { class: "said" },
        el("b", {}, name),
        run ? el("span", { class: "dim" }, ` ${run}`) : "",
        text >= 0 ? el("span", { class: "words" }, " ", ...marked(textOf(text))) : "",
        state ? el("span", { class: `becomes s-${state}` }, `→ ${state}`) : "",
      ),
    );
  };
  lines.forEach((line) => list.append(draw(line)));
  return left ? el("div", {}, list, el("p", { class: "dim" }, `${plural(left, "line")} more are left out here.`)) : list;
}

function fileCard(file, start) {
  const title = ["Transcript ", el("code", {}, file.path)];
  return el("section", { class: "card file" }, folded(title, () => [dialogue(file.lines, start, file.left)]));
}
