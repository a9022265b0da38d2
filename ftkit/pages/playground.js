/* The playground: asks one or two models the same question, and shows their streamed answers.

   Each side has its own conversation. What an answer says about its model is from its response:
   `system_fingerprint` of its events, and the headers x-ftkit-base, -job, -step and -answered-by. */
'use strict';
(() => {
  const MAX_TURNS = 100;  // exchanges on the page; the oldest ones are removed
  const MAX_EVENT = 1 << 24;  // characters of an event of the stream
  const MAX_ANSWER = 1 << 22;  // characters of an answer

  const ANSWERED_BY = {
    'generation-process': 'the service itself',
    'answering-server': 'an answering server of the service, such as vLLM',
  };

  const find = id => document.getElementById(id);
  const form = find('ask'), question = find('question'), turns = find('turns'), progress = find('progress');

  const element = (tag, className = '', ...children) => {
    const created = document.createElement(tag);
    if (className) created.className = className;
    created.append(...children);
    return created;
  };

  /* A text in which control and bidirectional characters are escapes, as in all pages. */
  const visible = text => text.replace(/(?![\n\t\u00a0\u200c\u200d\u3000 ])[\p{C}\p{Z}]/gu, character => {
    const code = character.codePointAt(0);
    if (code < 0x100) return `\\x${code.toString(16).padStart(2, '0')}`;
    return code < 0x10000 ? `\\u${code.toString(16).padStart(4, '0')}` : `\\U${code.toString(16).padStart(8, '0')}`;
  });

  const seconds = milliseconds => `${(milliseconds / 1000).toFixed(milliseconds < 10_000 ? 1 : 0)} s`;

  /* The data of the server-sent events of a response, as objects; the last one is null ("[DONE]"). */
  async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let buffer = '';
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        buffer += value;
        const parts = buffer.split('\n\n');
        buffer = parts.pop();
        if (buffer.length > MAX_EVENT) throw new Error('The service sent an event that is too long.');
        for (const part of parts) {
          const data = part.split('\n').filter(line => line.startsWith('data:')).map(line => line.slice(5)).join('\n').trim();
          if (data) yield data === '[DONE]' ? null : JSON.parse(data);
        }
      }
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  /* An answer on the page. Its text is appended once a frame, whatever number of events arrives. */
  class Answer {
    constructor(side, name) {
      this.name = name;
      this.text = this.unseen = '';
      this.started = performance.now();
      this.first = null;
      this.label = element('span', 'badge', 'waiting');
      this.node = document.createTextNode('');
      this.text_box = element('pre', '', this.node);
      this.origin = element('small', 'soft');
      this.numbers = element('small', 'soft');
      this.copy = element('button', '', 'Copy');
      this.copy.type = 'button';
      this.copy.hidden = true;
      this.copy.setAttribute('aria-label', `Copy the answer of ${name}`);
      this.copy.addEventListener('click', () => this.copyText());
      this.notes = element('div');
      this.root = element(
        'article', `turn answer of-${side}`,
        element('header', '', this.label, ' ', element('b', '', visible(name))),
        this.text_box, this.notes, element('footer', '', this.origin, this.numbers, this.copy));
      this.root.setAttribute('aria-label', `Answer of ${name}`);
      this.root.setAttribute('aria-busy', 'true');
    }

    /* Show which weights answer. Returns them. */
    identify(response) {
      const base = decodeURIComponent(response.headers.get('x-ftkit-base') ?? '');
      const job = response.headers.get('x-ftkit-job') ?? '', step = response.headers.get('x-ftkit-step') ?? '0';
      const by = response.headers.get('x-ftkit-answered-by');
      this.weights = { base, job, step };
      if (!base) {
        this.label.textContent = 'unknown model';
        this.note('The response does not say which model answers.', 'warning');
        return this.weights;
      }
      this.label.textContent = job ? 'Fine-tuned' : 'Base model';
      this.label.classList.toggle('info', Boolean(job));
      const link = element('a', '', job);
      link.href = `/jobs/${encodeURIComponent(job)}`;
      this.origin.append('Answered by ', element('code', '', visible(base)),
        ...(job ? [' with the adapter of ', link, ` at step ${Number(step).toLocaleString('en')}`] : [' without an adapter']),
        by in ANSWERED_BY ? `, in ${ANSWERED_BY[by]}.` : '.');
      return this.weights;
    }

    check(event) {
      if (this.isChecked) return;
      this.isChecked = true;
      const { model, system_fingerprint: base } = event;
      if (model !== this.name || base !== this.weights.base) {
        this.note(`The answer names the model ${visible(String(model))} on ${visible(String(base))}.`, 'warning');
      }
    }

    add(text) {
      this.first ??= performance.now();
      this.text += text;
      this.unseen += text;
      if (this.text.length > MAX_ANSWER) throw new Error('The answer is too long for this page.');
      this.frame ??= requestAnimationFrame(() => this.show());
    }

    show() {
      this.frame = null;
      if (!this.unseen) return;
      const page = document.documentElement;
      const isAtEnd = innerHeight + scrollY >= page.scrollHeight - 60;
      this.node.appendData(visible(this.unseen));
      this.unseen = '';
      if (isAtEnd) scrollTo({ top: page.scrollHeight, behavior: 'instant' });
    }

    note(text, tone = '') {
      this.notes.append(element('p', `note ${tone}`, text));
    }

    end(usage) {
      if (this.frame) cancelAnimationFrame(this.frame);
      this.show();
      this.root.setAttribute('aria-busy', 'false');
      this.copy.hidden = !this.text;
      const now = performance.now(), parts = [];
      if (usage) parts.push(`${usage.completion_tokens.toLocaleString('en')} token${usage.completion_tokens === 1 ? '' : 's'}`);
      if (this.first !== null) parts.push(`first after ${seconds(this.first - this.started)}`);
      parts.push(`${seconds(now - this.started)} in all`);
      this.numbers.textContent = parts.join(', ');
    }

    async copyText() {
      try {
        await navigator.clipboard.writeText(this.text);
        ftkit.say('The answer is copied.');
      } catch {  // only https and this machine have a clipboard
        getSelection().selectAllChildren(this.text_box);
        ftkit.say('The answer is selected; copy it with the keyboard.');
      }
    }
  }

  /* One of the two models, and its conversation. */
  class Side {
    constructor(root) {
      this.root = root;
      this.letter = root.dataset.side;
      this.select = root.querySelector('select');
      this.other = root.querySelector('[data-name]');
      this.about = root.querySelector('[data-about]');
      this.name = this.select.value;
      this.messages = [];
      this.select.addEventListener('change', () => this.choose());
      this.other.addEventListener('change', () => this.choose());
    }

    /* The facts that the page shows about the model, or undefined if there is no such model. */
    get facts() {
      return this.about.querySelector('[data-facts]')?.dataset;
    }

    async choose() {
      const isOther = 'other' in this.select.selectedOptions[0].dataset;
      this.other.closest('label').hidden = !isOther;
      if (isOther && !this.other.value.trim()) {
        this.other.focus();
        return;
      }
      this.name = isOther ? this.other.value.trim() : this.select.value;
      restart();
      await this.refresh();
      describePair();
      showAddress();
    }

    async refresh() {
      if (!this.name) {
        this.about.replaceChildren(element('p', 'soft', 'One model answers alone.'));
        return;
      }
      const name = this.name;
      try {
        const response = await ftkit.request('GET', `/playground/model?name=${encodeURIComponent(name)}`);
        const html = await response.text();
        if (name === this.name) this.about.innerHTML = html;  // the service has escaped all texts
      } catch (error) {
        if (name === this.name) this.about.replaceChildren(element('p', 'note error', error.message));
      }
    }

    /* Ask the model, and show its answer. Returns one line on how it went. */
    async ask(text, parameters, list, signal) {
      const answer = new Answer(this.letter, this.name);
      list.append(answer.root);
      const { system, ...sampling } = parameters;
      const messages = [...this.messages, { role: 'user', content: text }];
      const body = {
        model: this.name,
        messages: system ? [{ role: 'system', content: system }, ...messages] : messages,
        stream: true,
        stream_options: { include_usage: true },
        ...sampling,
      };
      const conversation = this.messages;
      let usage = null, outcome = '', isKept = true;
      try {
        const response = await ftkit.request('POST', '/v1/chat/completions', body, signal);
        this.compare(answer, answer.identify(response));
        ({ usage, reason: outcome } = await this.receive(answer, response));
        if (outcome === 'length') answer.note('The answer is cut off at the maximum number of tokens.', 'warning');
        if (!answer.text) answer.note('The answer is empty.');
      } catch (error) {
        isKept = signal.aborted && answer.text !== '';
        outcome = signal.aborted ? 'stopped' : 'failed';
        answer.note(signal.aborted ? 'Stopped.' : error.message, signal.aborted ? 'warning' : 'error');
        if (!answer.weights) answer.label.textContent = 'no answer';
        if (!isKept) answer.note('The conversation with this model goes on without this question.');
      }
      if (isKept) conversation.push(messages.at(-1), { role: 'assistant', content: answer.text });
      answer.end(usage);
      return `${this.name}: ${usage ? `${usage.completion_tokens} tokens` : outcome}`;
    }

    async receive(answer, response) {
      let usage = null, reason = null, isComplete = false;
      for await (const event of events(response)) {
        if (event === null) {
          isComplete = true;
          break;
        }
        if (event.error) throw new Error(event.error.message);
        answer.check(event);
        usage = event.usage ?? usage;
        for (const choice of event.choices) {
          if (choice.delta?.content) answer.add(choice.delta.content);
          reason = choice.finish_reason ?? reason;
        }
      }
      if (!isComplete) throw new Error('The answer ended early, since the connection was closed.');
      return { usage, reason };
    }

    /* Warn if other weights answer than those that the page shows for the name. */
    compare(answer, weights) {
      const shown = this.facts;
      const isSame = shown && ['base', 'job', 'step'].every(key => shown[key] === weights[key]);
      if (!isSame) {
        answer.note(`The name ${visible(this.name)} stands for other weights than at the last answer or choice.`, 'warning');
        this.refresh().then(describePair);
      }
    }
  }

  const sides = [...document.querySelectorAll('[data-side]')].map(root => new Side(root));
  let running = null;  // AbortController of the answers that are being generated

  const describePair = () => {
    const [a, b] = sides.map(side => side.facts);
    let text = '';
    if (sides[1].name && a && b && a.base === b.base) {
      if (a.job === b.job && a.step === b.step) text = 'Both names stand for the same weights.';
      else if (a.recipe !== b.recipe) text = 'The two are loaded with different recipes: that of the base model has changed since the job was created.';
    }
    find('pair').textContent = text;
  };

  const showAddress = () => {
    const [against, model] = sides[1].name ? [sides[0].name, sides[1].name] : ['', sides[0].name];
    history.replaceState(null, '', `?${new URLSearchParams({ model, against })}`);
  };

  /* Start a conversation. What is on the page stays there, but is not sent any more. */
  const restart = () => {
    running?.abort();
    const hasMessages = sides.some(side => side.messages.length);
    for (const side of sides) side.messages = [];
    if (hasMessages) turns.append(element('li', 'divider soft', 'A new conversation. What is above is not sent any more.'));
  };

  const readParameters = () => {
    const parameters = {};
    for (const input of form.querySelectorAll('input[type=number]')) {
      if (input.value !== '') parameters[input.name] = input.valueAsNumber;
    }
    const system = form.elements.system.value;
    return system.trim() ? { ...parameters, system } : parameters;
  };

  const setRunning = controller => {
    running = controller;
    find('send').disabled = Boolean(controller);
    find('stop').disabled = !controller;
    find('clear').disabled = !turns.children.length;
  };

  const ask = async () => {
    const text = question.value;
    if (running || !text.trim()) return;
    const controller = new AbortController(), parameters = readParameters();
    const asked = sides.filter(side => side.name);
    const answers = element('div', 'answers');
    const role = element('span', 'role', 'user');
    turns.append(element('li', '', element('div', 'turn user', role, element('pre', '', visible(text))), answers));
    while (turns.children.length > MAX_TURNS) turns.firstElementChild.remove();
    question.value = '';
    setRunning(controller);
    progress.textContent = asked.length > 1 ? 'Both models are answering.' : 'The model is answering.';
    const outcomes = asked.map(side => side.ask(text, parameters, answers, controller.signal));
    scrollTo({ top: document.documentElement.scrollHeight, behavior: 'instant' });
    progress.textContent = `Done. ${(await Promise.all(outcomes)).join('. ')}.`;
    setRunning(null);
  };

  form.addEventListener('submit', event => {
    event.preventDefault();
    ask();
  });
  question.addEventListener('keydown', event => {
    if (event.key !== 'Enter' || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  });
  find('stop').addEventListener('click', () => running?.abort());
  find('clear').addEventListener('click', () => {
    running?.abort();
    for (const side of sides) side.messages = [];
    turns.replaceChildren();
    find('clear').disabled = true;
    question.focus();
  });
  describePair();
})();
