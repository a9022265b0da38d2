/* What all pages of the dashboard share: requests to the API, confirmations, messages, actions.

   ftkit.api(method, path, body)    the JSON of the response; fails with the message of the API
   ftkit.request(method, path, body, signal)   the response; fails with the message of the API, or
                                    with that of the browser once the `AbortSignal` is aborted
   ftkit.say(text, tone)            shows a message, such as an error ("error")
   ftkit.errorBox(text)             an element with an error, as templates have it
   data-action="METHOD PATH"        a button that requests this from the API; with data-confirm="TEXT",
                                    after a confirmation; then the page at data-next is shown, or
                                    the element in data-refresh (a selector) gets the event "refresh" */
'use strict';
const ftkit = (() => {
  class ApiError extends Error {}

  const message = document.getElementById('message');

  const say = (text, tone = '') => {
    message.textContent = text;
    message.dataset.tone = tone;
  };

  const errorBox = text => {
    const box = document.createElement('div'), line = document.createElement('p');
    box.className = 'verdict error';
    line.className = 'headline';
    line.textContent = text;
    box.append(line);
    return box;
  };

  const logIn = () => location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);

  const request = async (method, path, body, signal) => {
    const isForm = body instanceof FormData;
    const headers = body === undefined || isForm ? {} : { 'content-type': 'application/json' };
    const content = body === undefined || isForm ? body : JSON.stringify(body);
    let response;
    try {
      response = await fetch(path, { method, headers, body: content, signal, credentials: 'same-origin' });
    } catch (error) {
      if (signal?.aborted) throw error;
      throw new ApiError('The service does not answer. Is it still running?');
    }
    if (response.status === 401 || new URL(response.url).pathname === '/login') {
      logIn();
      throw new ApiError('The login has ended.');
    }
    if (response.ok) return response;
    const answer = await response.json().catch(() => null);
    throw new ApiError(answer?.error?.message ?? `The service answered ${response.status}.`);
  };

  const api = async (method, path, body) => (await request(method, path, body)).json().catch(() => null);

  /* Resolves to true if the user agrees. */
  const confirm = text => new Promise(resolve => {
    const dialog = document.getElementById('confirm');
    document.getElementById('confirm-text').textContent = text;
    dialog.returnValue = 'no';
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
    dialog.showModal();
  });

  const act = async button => {
    if (button.dataset.confirm && !await confirm(button.dataset.confirm)) return;
    const [method, path] = button.dataset.action.split(' ');
    button.disabled = true;
    try {
      await api(method, path);
      say('');
      if (button.dataset.next) location.assign(button.dataset.next);
      else document.querySelector(button.dataset.refresh)?.dispatchEvent(new Event('refresh'));
    } catch (error) {
      say(error.message, 'error');
    }
    button.disabled = false;
  };

  document.addEventListener('click', event => {
    const button = event.target.closest('[data-action]');
    if (button) act(button);
  });

  /* Parts that update themselves do not while the page is hidden, but at once when it is shown again.
     They say so if they cannot. */
  let isStale = false;
  document.addEventListener('htmx:before:request', event => {
    if (document.hidden && event.detail.ctx.sourceEvent?.type === 'every' && !event.detail.ctx.sourceElement.matches('[data-while-hidden]')) event.preventDefault();
  });
  document.addEventListener('visibilitychange', () => {
    if (document.hidden) return;
    for (const part of document.querySelectorAll('[hx-trigger*=every]')) part.dispatchEvent(new Event('refresh'));
  });
  const sayStale = reason => {
    isStale = true;
    say(`This page is not current: ${reason}`, 'error');
  };
  document.addEventListener('htmx:error', () => sayStale('the service does not answer. Is it still running?'));
  document.addEventListener('htmx:response:error', event => {
    const { status } = event.detail.ctx.response;
    if (status >= 500) sayStale(`the service answers with error ${status}.`);
  });
  document.addEventListener('htmx:after:request', event => {
    if (!isStale || event.detail.ctx.response.status >= 500) return;
    say('');
    isStale = false;
  });

  return { api, errorBox, logIn, request, say };
})();
