/* The library's chat in the corner of any page:
 *   <script src="https://desk.example.edu/widget.js" data-library="demo" defer></script>
 * Optional: data-lang="zh-Hans|zh-Hant|en|vi", data-open="true", and for a patron whom the page
 * has signed in data-identity="…", a token that the page's server signed (docs/install.md).
 *
 * It lives in a shadow tree and writes no inline style, so that the page's own rules and its
 * content security policy stay as they are. It asks the network for nothing before it is opened,
 * unless this browser has talked to the library before.
 */
(() => {
  "use strict";

  const script = document.currentScript;
  const library = script?.dataset.library;
  if (!library || customElements.get("refdesk-widget")) return;

  const TEXTS = "__TEXTS__";
  const base = new URL(`widget/${encodeURIComponent(library)}/`, script.src).href;
  const language = pickLanguage(
    script.dataset.lang || document.documentElement.lang,
    ...(navigator.languages || [navigator.language]),
  );
  const texts = TEXTS[language];

  function pickLanguage(...wanted) {
    for (const tag of wanted) {
      const lower = (tag || "").toLowerCase();
      if (lower.startsWith("zh")) return /hant|-tw|-hk|-mo/.test(lower) ? "zh-Hant" : "zh-Hans";
      if (lower.startsWith("vi")) return "vi";
      if (lower.startsWith("en")) return "en";
    }
    return "zh-Hans";
  }

  // --- who the page says this is ----------------------------------------------------------

  let identity = script.dataset.identity || null;
  let who = subject(identity);

  function subject(token) {
    try {
      return String(JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/"))).sub);
    } catch {
      return null;
    }
  }

  // --- what this browser remembers -------------------------------------------------------

  const storeKey = `refdesk:${library}`;
  const blank = { session: null, who: null, read: 0, queue: [], draft: "", open: false };
  let memory = { ...blank }; // where storage is forbidden, this page's life is all there is

  function stored() {
    try {
      memory = { ...blank, ...JSON.parse(localStorage.getItem(storeKey)) };
    } catch {
      /* storage is blocked or spoilt: go on with what we have */
    }
    return memory;
  }

  function store(changes) {
    memory = { ...stored(), ...changes };
    try {
      localStorage.setItem(storeKey, JSON.stringify(memory));
    } catch {
      /* as above */
    }
  }

  // whoever has signed out, or is somebody else, leaves nothing of theirs behind
  if (stored().who && memory.who !== who) store({ ...blank });

  function newId() {
    if (crypto.randomUUID) return crypto.randomUUID();
    const hex = [...crypto.getRandomValues(new Uint8Array(16))].map((b) =>
      b.toString(16).padStart(2, "0"),
    );
    return hex.join("").replace(/(.{8})(.{4})(.{4})(.{4})(.{12})/, "$1-$2-$3-$4-$5");
  }

  // --- the server ------------------------------------------------------------------------

  class Refusal extends Error {
    constructor(status) {
      super(`the desk answered ${status}`);
      this.status = status;
    }
  }

  async function request(path, options) {
    const response = await fetch(base + path, {
      ...options,
      credentials: "omit",
      signal: AbortSignal.timeout?.(options.body instanceof Blob ? 120000 : 20000),
    });
    if (!response.ok) throw new Refusal(response.status);
    return response.json();
  }

  // text/plain and no own header: a cross-origin post without a preflight round trip
  const call = (path, body) => request(path, { method: "POST", body: JSON.stringify(body) });

  // the session travels in a header, so that it stands in no access log
  const look = (path) => request(path, { headers: { Authorization: `Bearer ${memory.session}` } });

  let starting = null;
  async function session() {
    if (stored().session && memory.who === who) return memory.session;
    starting ??= call("sessions", { language, ...(identity && { identity, session: memory.session }) })
      .then((answer) => {
        if (!stored().session || memory.who !== who) store({ session: answer.session, who, read: 0 });
        welcome(answer);
        return memory.session;
      })
      .catch((error) => {
        if (!identity || error.status !== 403) throw error;
        identity = who = starting = null; // the page's word does not count: go on as a stranger
        return session();
      })
      .finally(() => {
        starting = null;
      });
    return starting;
  }

  // --- the conversation ------------------------------------------------------------------

  const messages = new Map(); // position in the conversation -> message
  let waiting = false; // a librarian owes an answer
  let emailKnown = false;
  let linked = []; // the patron's conversations, this one among them
  let answersTo = null;
  let stream = null;
  let streamToken = null;
  let historyLoaded = false;
  let element = null;

  // what was said on other channels is shown, and has no place in this conversation's line
  const lastPosition = () => Math.max(0, ...[...messages.keys()].filter(Number));

  function take(answer) {
    if ("waiting" in answer) waiting = answer.waiting;
    if ("email" in answer) emailKnown = answer.email;
    if (answer.stream) streamToken = answer.stream;
    if (answer.linked) ({ linked, answers: answersTo } = answer);
    for (const message of answer.elsewhere || []) messages.set(message.seq, message);
    if (answer.read > stored().read) store({ read: answer.read });
    const seen = new Set();
    for (const message of answer.messages || []) {
      messages.set(message.seq, message);
      if (message.id) seen.add(message.id);
    }
    if (seen.size) store({ queue: stored().queue.filter((item) => !seen.has(item.id)) });
    element?.draw();
    listen();
  }

  async function catchUp() {
    if (!stored().session && !identity) return;
    try {
      await session();
      take(await look(`messages?after=${lastPosition()}`));
      historyLoaded = true;
    } catch (error) {
      if (error.status === 403) forget();
      else throw error;
    }
  }

  function forget() {
    messages.clear();
    stream?.close();
    stream = null;
    streamToken = null;
    store({ session: null, read: 0 });
    element?.draw();
  }

  // --- sending: everything goes through a queue that survives a reload --------------------

  let sending = false;
  let delay = 1000;
  let timer = 0;

  const files = []; // on their way; too large for what survives a reload
  const LARGEST = 5 * 1024 * 1024;

  function sendFiles(list) {
    for (const file of list) {
      files.push({ id: newId(), file, failed: file.size > LARGEST && texts.tooLarge });
    }
    element.showConversation();
    flush();
  }

  function say(text, payload) {
    const item = { id: newId(), text, ...(payload && { payload }) };
    store({ queue: [...stored().queue, item] });
    element.showConversation();
    flush();
  }

  async function flush() {
    if (sending) return;
    sending = true;
    clearTimeout(timer);
    try {
      let item;
      while ((item = [...stored().queue, ...files].find((one) => !one.failed))) await sendOne(item);
      delay = 1000;
    } catch (error) {
      if (!(error instanceof Refusal) && error.name === "TypeError" && !navigator.onLine) delay = 30000;
      timer = setTimeout(flush, delay);
      delay = Math.min(delay * 2, 30000);
    } finally {
      sending = false;
      element.draw();
    }
  }

  async function sendOne(item) {
    try {
      element.draw();
      const bearer = await session();
      if (item.file) {
        const query = new URLSearchParams({ id: item.id, name: item.file.name || "image.png" });
        const headers = { Authorization: `Bearer ${bearer}`, "Content-Type": "application/octet-stream" };
        take(await request(`files?${query}`, { method: "POST", body: item.file, headers }));
      } else {
        take(await call("messages", { session: bearer, ...item }));
      }
      drop(item);
    } catch (error) {
      if (error.status === 403) {
        forget();
        return;
      }
      if (item.file && error.status) {
        item.failed = error.status === 415 ? texts.wrongType : texts.failed;
        return;
      }
      // our own fault: trying again cannot help, but what was typed stays on the screen
      if ([400, 404, 413, 422].includes(error.status)) {
        const queue = stored().queue.map((one) => (one.id === item.id ? { ...one, failed: true } : one));
        store({ queue });
        return;
      }
      throw error;
    }
  }

  function drop(item) {
    if (item.file) files.splice(files.indexOf(item), 1);
    store({ queue: stored().queue.filter((one) => one.id !== item.id) });
    channel?.postMessage("changed");
  }

  // --- listening: one tab holds the connection, the others hear from it -------------------

  const channel = "BroadcastChannel" in window ? new BroadcastChannel(storeKey) : null;
  channel?.addEventListener("message", ({ data }) => {
    if (data === "changed") {
      stored();
      catchUp().catch(() => {});
    } else if (data.answer) {
      take(data.answer);
    } else if (data.typing) {
      element.showTyping(data.typing);
    }
  });

  let listening = false;
  function listen() {
    const wanted = messages.size > 0 && (element?.isOpen || waiting);
    if (!wanted || listening || !streamToken) return;
    listening = true;
    if (navigator.locks) {
      navigator.locks.request(storeKey, () => new Promise(openStream));
    } else {
      openStream(() => {});
    }
  }

  function openStream(release) {
    let patience = 1000;
    const connect = () => {
      const query = new URLSearchParams({ token: streamToken, after: lastPosition() });
      stream = new EventSource(`${base}events?${query}`);
      stream.addEventListener("open", () => {
        patience = 1000;
      });
      stream.addEventListener("message", ({ data }) => {
        const answer = JSON.parse(data);
        take(answer);
        channel?.postMessage({ answer });
      });
      stream.addEventListener("typing", ({ data }) => {
        element.showTyping(data);
        channel?.postMessage({ typing: data });
      });
      stream.addEventListener("error", () => {
        if (stream.readyState !== EventSource.CLOSED) return; // it reconnects by itself
        if (!stored().session) {
          listening = false;
          release();
          return;
        }
        setTimeout(() => catchUp().catch(() => {}).then(connect), patience); // with a fresh token
        patience = Math.min(patience * 2, 60000);
      });
    };
    connect();
    const leave = () => {
      stream.close();
      listening = false;
      release();
    };
    addEventListener("pagehide", leave, { once: true });
  }

  // --- drawing ---------------------------------------------------------------------------

  const sheet = new CSSStyleSheet();
  sheet.replaceSync("__STYLE__");

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") node.addEventListener(name, value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value != null) node.setAttribute(name, value);
    }
    node.append(...children.filter((child) => child != null));
    return node;
  }

  function icon(path) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
    svg.setAttribute("viewBox", "0 0 24 24");
    svg.setAttribute("aria-hidden", "true");
    const shape = document.createElementNS(svg.namespaceURI, "path");
    shape.setAttribute("d", path);
    svg.append(shape);
    return svg;
  }

  const CHAT = "M4 5h16v11H9l-5 4zM8 9h8M8 12.5h5";
  const CLOSE = "M6 6l12 12M18 6L6 18";
  const SEND = "M4 12l16-8-5 16-3.5-6.5z";
  const CLIP = "M19 11l-7.5 7.5a4.6 4.6 0 0 1-6.5-6.5L13 4a3.1 3.1 0 0 1 4.4 4.4l-8 8a1.5 1.5 0 0 1-2.2-2.2L14 7.5";
  const MORE = "M5 12h1M11.5 12h1M18 12h1";

  /** Text with its web addresses as links; nothing else of it is ever markup. */
  function prose(text) {
    const parts = [];
    let from = 0;
    for (const match of text.matchAll(/https?:\/\/[^\s<>"'，。；：！？、（）《》「」“”]+/g)) {
      const address = match[0].replace(/[.,;:!?)\]}]+$/, "");
      parts.push(text.slice(from, match.index), webLink(address, address));
      from = match.index + address.length;
    }
    parts.push(text.slice(from));
    return parts.filter((part) => part !== "");
  }

  function webLink(address, label) {
    if (!/^https?:\/\//i.test(address)) return label;
    return make("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, label);
  }

  function clock(at) {
    const date = new Date(at);
    const today = date.toDateString() === new Date().toDateString();
    const style = { hour: "2-digit", minute: "2-digit", hourCycle: "h23" };
    if (!today) Object.assign(style, { month: "numeric", day: "numeric" });
    return make("time", { datetime: at }, new Intl.DateTimeFormat(language, style).format(date));
  }

  class Widget extends HTMLElement {
    isOpen = false;
    #root = this.attachShadow({ mode: "open" });
    #drawn = new Map(); // key -> list item
    #typingTimer = 0;

    connectedCallback() {
      element = this;
      this.#root.adoptedStyleSheets = [sheet];
      this.lang = language;
      this.badge = make("span", { class: "badge", hidden: true });
      this.launcher = make(
        "button",
        { class: "launcher", type: "button", "aria-expanded": "false", click: () => this.toggle() },
        icon(CHAT),
        make("span", { class: "label" }, texts.launcher),
        this.badge,
      );
      this.#root.append(this.launcher);
      if (stored().session || identity) catchUp().catch(() => {});
      if (memory.queue.length) flush();
      const given = location.hash.match(/^#link=([\w-]{9})$/);
      if (given || memory.open || script.dataset.open === "true") this.open({ focus: false });
      if (given) this.#showMore(true, given[1]); // the patron still has to say so
    }

    toggle() {
      if (this.isOpen) this.close();
      else this.open();
    }

    #build() {
      this.log = make("ol", { class: "log" });
      this.typing = make("p", { class: "typing", role: "status", hidden: true });
      this.quick = make("div", { class: "quick" });
      this.input = make("textarea", {
        rows: "1",
        maxlength: "2000",
        "aria-label": texts.placeholder,
        placeholder: texts.placeholder,
        keydown: (event) => this.#key(event),
        input: () => {
          store({ draft: this.input.value });
          this.#grow();
        },
      });
      this.input.value = stored().draft;
      this.heading = make("h2", { id: "title" }, stored().name || texts.title);
      this.panel = make(
        "section",
        { class: "panel", role: "dialog", "aria-labelledby": "title", keydown: (event) => {
          if (event.key === "Escape") this.close();
        }, paste: ({ clipboardData }) => sendFiles(clipboardData.files),
        dragover: (event) => event.preventDefault(),
        drop: (event) => {
          event.preventDefault();
          sendFiles(event.dataTransfer.files);
        } },
        make(
          "div",
          { class: "head" },
          this.heading,
          (this.menu = make(
            "button",
            {
              type: "button",
              class: "icon",
              "aria-label": texts.menu,
              "aria-expanded": "false",
              click: () => this.#showMore(this.more.hidden),
            },
            icon(MORE),
          )),
          make(
            "button",
            { type: "button", class: "icon", "aria-label": texts.close, click: () => this.close() },
            icon(CLOSE),
          ),
        ),
        (this.middle = make(
          "div",
          { class: "middle", tabindex: "0" },
          make(
            "div",
            { class: "intro" },
            make("p", {}, texts.greeting),
            make("p", { class: "fine" }, texts.privacy),
          ),
          make("div", { role: "log", "aria-label": texts.log }, this.log),
          this.typing,
          this.quick,
        )),
        (this.more = make("div", { class: "middle more", tabindex: "0", hidden: true })),
        make(
          "form",
          { submit: (event) => {
            event.preventDefault();
            this.#send();
          } },
          (this.picker = make("input", {
            type: "file",
            multiple: true,
            hidden: true,
            accept: "image/*,.pdf,.txt,.csv,.docx,.xlsx,.pptx",
            "aria-label": texts.attach,
            change: () => {
              sendFiles(this.picker.files);
              this.picker.value = "";
            },
          })),
          make(
            "button",
            { type: "button", class: "icon", "aria-label": texts.attach, click: () => this.picker.click() },
            icon(CLIP),
          ),
          this.input,
          make("button", { class: "icon send", "aria-label": texts.send }, icon(SEND)),
        ),
        (this.offline = make("p", { class: "offline", role: "status", hidden: true }, texts.offline)),
      );
      this.#root.prepend(this.panel);
    }

    open({ focus = true } = {}) {
      if (!this.panel) this.#build();
      this.isOpen = true;
      this.panel.hidden = false;
      this.classList.add("open");
      this.#root.host.toggleAttribute("data-open", true);
      this.launcher.setAttribute("aria-expanded", "true");
      store({ open: true });
      this.draw();
      this.scrollToEnd();
      if (focus) this.input.focus();
      if (!memory.session) session().catch(() => {});
      else if (!historyLoaded) catchUp().catch(() => {});
      listen();
    }

    close() {
      this.isOpen = false;
      this.panel.hidden = true;
      this.toggleAttribute("data-open", false);
      this.launcher.setAttribute("aria-expanded", "false");
      store({ open: false });
      this.launcher.focus();
    }

    #key(event) {
      // while an input method is composing, Enter picks a word
      if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
      event.preventDefault();
      this.#send();
    }

    #send() {
      const text = this.input.value.trim();
      if (!text) return;
      this.input.value = "";
      store({ draft: "" });
      this.#grow();
      say(text);
    }

    #grow() {
      this.input.rows = Math.min(5, Math.max(1, this.input.value.split("\n").length));
    }

    draw() {
      this.#drawBadge();
      if (!this.panel) return;
      const atEnd = this.#isAtEnd();
      const list = [...messages.values()].sort(
        (a, b) => (a.place || b.place ? Date.parse(a.at) - Date.parse(b.at) : 0) || a.seq - b.seq || 0,
      );
      const known = new Set(list.map((message) => message.id).filter(Boolean));
      const pending = [...stored().queue, ...files].filter((item) => !known.has(item.id));
      const wanted = new Map();
      for (const message of list) wanted.set(`m${message.seq}`, () => this.#bubble(message));
      for (const item of pending) {
        wanted.set(`q${item.id}${item.failed ? "!" : ""}`, () => this.#pendingBubble(item));
      }
      for (const [key, node] of this.#drawn) {
        if (!wanted.has(key)) {
          node.remove();
          this.#drawn.delete(key);
        }
      }
      let before = null;
      for (const [key, draw] of wanted) {
        let node = this.#drawn.get(key);
        if (!node) this.#drawn.set(key, (node = draw()));
        const place = before ? before.nextSibling : this.log.firstChild;
        if (place !== node) this.log.insertBefore(node, place);
        before = node;
      }
      this.#drawQuick(list.filter((message) => !message.place), pending);
      this.typing.hidden = !(sending && pending.length) && !this.#typingTimer;
      if (!this.#typingTimer) this.typing.textContent = texts.typing;
      this.offline.hidden = !pending.some((item) => !item.failed) || sending;
      if (atEnd) this.scrollToEnd();
      this.#markRead();
    }

    #bubble(message) {
      const who = message.role === "librarian" ? message.by || texts.librarian : null;
      const body = make("div", { class: "bubble" });
      if (message.quote) body.append(make("blockquote", {}, message.quote));
      if (message.file) body.append(this.#fileLine(message.file));
      if (message.text) body.append(make("p", {}, ...prose(message.text)));
      if (message.link) body.append(make("p", {}, webLink(message.link, texts.more)));
      return make(
        "li",
        { class: `${message.role} ${message.kind || ""}`, "data-seq": message.seq },
        make("span", { class: "from" }, message.role === "patron" ? texts.you : who || texts.bot),
        body,
        make("span", { class: "foot" }, clock(message.at), message.place && ` · ${message.place}`),
      );
    }

    #fileLine({ name, size }) {
      const kilobytes = Math.max(1, Math.round(size / 1000));
      return make("p", { class: "file" }, icon(CLIP), make("span", {}, `${name || "image.png"} · ${kilobytes} kB`));
    }

    #pendingBubble(item) {
      const foot = item.file && item.failed
        ? make("span", { class: "failed" }, item.failed, " ", make("button", {
            type: "button",
            click: () => {
              drop(item);
              this.draw();
              this.input.focus();
            },
          }, "OK"))
        : item.failed
        ? make("span", { class: "failed" }, texts.failed, " ", make("button", {
            type: "button",
            click: () => {
              store({ queue: stored().queue.filter((one) => one.id !== item.id) });
              this.input.value = [item.text, this.input.value].filter(Boolean).join("\n");
              this.draw();
              this.input.focus();
            },
          }, texts.edit))
        : make("span", { class: "pending" }, texts.sending);
      return make(
        "li",
        { class: "patron pending" },
        make("span", { class: "from" }, texts.you),
        make("div", { class: "bubble" },
          item.file ? this.#fileLine(item.file) : make("p", {}, ...prose(item.text))),
        foot,
      );
    }

    /** What can be tapped now: choices, "did that help?", or an address for the late answer. */
    #drawQuick(list, pending) {
      const last = pending.length ? null : list.at(-1);
      const key = `${last?.seq}|${last?.kind}|${emailKnown}|${waiting}|${list.length ? "" : suggestions.length}`;
      if (this.quick.dataset.key === key) return;
      this.quick.dataset.key = key;
      this.quick.replaceChildren();
      if (!list.length && !pending.length) {
        for (const text of suggestions) this.quick.append(this.#choice({ label: text }));
      } else if (last && last.role !== "patron") {
        const owner = list.findLast((message) => message.role !== "patron" && message.choices?.length);
        const since = owner && list.some((m) => m.role === "patron" && m.seq > owner.seq);
        if (owner && !since) {
          const rating = owner.choices.every(({ payload }) => payload.startsWith("/helped"));
          if (rating) this.quick.append(make("span", { class: "ask" }, texts.helped));
          this.quick.classList.toggle("rating", rating);
          for (const choice of owner.choices) this.quick.append(this.#choice(choice));
        }
        if (waiting && !emailKnown && last.role === "bot") this.quick.append(this.#emailForm());
      }
    }

    #choice({ label, payload }) {
      return make("button", { type: "button", click: () => {
        say(label, payload);
        this.input.focus();
      } }, label);
    }

    #emailForm() {
      const input = make("input", {
        type: "email", required: true, autocomplete: "email", maxlength: "254",
        "aria-label": texts.email, placeholder: "name@example.edu",
      });
      const status = make("span", { role: "status" });
      const keep = async (event) => {
        event.preventDefault();
        try {
          await call("email", { session: await session(), email: input.value.trim() });
        } catch {
          status.textContent = texts.emailFailed;
          return;
        }
        emailKnown = true;
        status.textContent = texts.emailSaved;
        form.replaceChildren(status);
        this.input.focus();
      };
      const label = make("label", {}, texts.email, input);
      const form = make("form", { class: "email", submit: keep }, label, make("button", {}, texts.save), status);
      return form;
    }

    showConversation() {
      if (!this.more.hidden) this.#showMore(false);
      this.draw();
      this.scrollToEnd();
    }

    /** A transcript, and other channels: beside the conversation, not in it. */
    #showMore(on, code) {
      this.more.hidden = !on;
      this.middle.hidden = on;
      this.menu.setAttribute("aria-expanded", String(on));
      if (on) this.#drawMore(code);
      else this.scrollToEnd();
      (on ? this.more.querySelector("button") : this.menu).focus();
    }

    #drawMore(code) {
      const back = make("button", { type: "button", click: () => this.#showMore(false) }, texts.back);
      const letter = messages.size ? [this.#transcriptForm()] : [];
      this.more.replaceChildren(back, ...letter, ...(linked.length && !code ? [this.#places()] : this.#linkForms(code)));
    }

    /** A form that asks the server once, and says in its own place what came of it. */
    #errand(title, fields, button, failed, ask) {
      const status = make("p", { class: "status", role: "status" });
      const send = async (event) => {
        event.preventDefault();
        try {
          status.replaceChildren((await ask()) || "");
        } catch {
          status.replaceChildren(failed);
        }
      };
      return make("form", { class: "errand", submit: send }, make("h3", {}, title), ...fields, make("button", {}, button), status);
    }

    #transcriptForm() {
      const input = make("input", { type: "email", required: true, autocomplete: "email", maxlength: "254" });
      const fields = emailKnown ? [] : [make("label", {}, texts.address, input)];
      return this.#errand(texts.transcript, fields, texts.mail, texts.transcriptFailed, async () => {
        const email = emailKnown ? undefined : input.value.trim();
        await call("transcript", { session: await session(), email });
        emailKnown = true;
        return texts.transcriptSent;
      });
    }

    #linkForms(code) {
      const input = make("input", { value: code, required: true, maxlength: "9", autocomplete: "off", placeholder: "ABCD-2345", autocapitalize: "characters" });
      return [
        this.#errand(texts.link, [], texts.linkCode, texts.failed, async () => {
          const { code, minutes } = await call("link/code", { session: await session() });
          return make("span", {}, texts.linkSend.replace("{n}", minutes), make("strong", { class: "code" }, code));
        }),
        this.#errand(
          texts.linkEnter,
          [make("p", { class: "fine" }, texts.linkWarn), make("label", {}, input)],
          texts.linkGo,
          texts.linkFailed,
          async () => {
            await call("link", { session: await session(), code: input.value.trim() });
            await this.#refresh();
          },
        ),
      ];
    }

    #places() {
      const options = [{ id: "", name: texts.anywhere }, ...linked].map(({ id, name }) =>
        make("option", { value: id, selected: id === (answersTo ?? "") }, name),
      );
      const change = async ({ target }) => {
        take(await call("answers", { session: await session(), to: Number(target.value) || null }));
      };
      const unlink = async () => {
        await call("unlink", { session: await session() });
        await this.#refresh();
      };
      const names = linked.map(({ name }) => name).join(", ");
      return make(
        "div",
        { class: "errand" },
        make("h3", {}, `${texts.linked}: ${names}`),
        make("label", {}, texts.answersTo, make("select", { change }, ...options)),
        make("button", { type: "button", click: unlink }, texts.unlink),
      );
    }

    /** Everything anew: what was said elsewhere came, or went. */
    async #refresh() {
      messages.clear();
      linked = [];
      take(await look("messages"));
      this.#drawMore();
    }

    showTyping(who) {
      if (!this.panel) return;
      clearTimeout(this.#typingTimer);
      this.typing.textContent = texts.librarianTyping.replace("{name}", who || texts.librarian);
      this.typing.hidden = false;
      this.#typingTimer = setTimeout(() => {
        this.#typingTimer = 0;
        this.draw();
      }, 6000);
      if (this.#isAtEnd()) this.scrollToEnd();
    }

    #drawBadge() {
      const read = stored().read;
      let unread = 0;
      for (const message of messages.values()) {
        if (message.role !== "patron" && message.seq > read) unread += 1;
      }
      if (this.isOpen) unread = 0;
      this.badge.hidden = unread === 0;
      this.badge.textContent = unread;
      const label = unread ? texts.unread.replace("{n}", unread) : texts.launcher;
      this.launcher.setAttribute("aria-label", label);
    }

    #markRead() {
      const newest = lastPosition();
      if (!this.isOpen || document.hidden || newest <= stored().read) return;
      store({ read: newest });
      this.#drawBadge();
      channel?.postMessage("changed");
      call("read", { session: memory.session, seq: newest }).catch(() => {});
    }

    #isAtEnd() {
      const { middle } = this;
      return !middle || middle.scrollHeight - middle.scrollTop - middle.clientHeight < 80;
    }

    scrollToEnd() {
      if (this.middle) this.middle.scrollTop = this.middle.scrollHeight;
    }
  }

  let suggestions = [];
  function welcome(answer) {
    suggestions = answer.suggestions || [];
    store({ name: answer.name });
    if (element?.heading) element.heading.textContent = answer.name;
    element?.draw();
  }

  const resume = () => {
    delay = 1000;
    flush();
    catchUp().catch(() => {});
  };
  addEventListener("online", resume);
  addEventListener("pageshow", ({ persisted }) => persisted && resume());
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && element) element.draw();
  });

  customElements.define("refdesk-widget", Widget);
  const mount = () => document.body.append(document.createElement("refdesk-widget"));
  if (document.body) mount();
  else addEventListener("DOMContentLoaded", mount);
})();
