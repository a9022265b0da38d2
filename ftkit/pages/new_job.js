/* The form for a new job: it asks what the job would train on after each change, and creates the job
   with the request that the answer has. */
'use strict';
(() => {
  const DELAY = 400;  // milliseconds after the last change
  const form = document.getElementById('new-job');
  if (!form) return;
  let timer = 0;

  const change = () => {
    const button = document.querySelector('[data-create]');
    if (button) button.disabled = true;  // until the answer is there
    document.getElementById('job-body')?.remove();
    clearTimeout(timer);
    timer = setTimeout(() => {
      const preview = document.getElementById('preview');
      preview.setAttribute('aria-busy', 'true');
      preview.dispatchEvent(new Event('changed'));
      const fields = [...new FormData(form)].filter(([, value]) => value);
      history.replaceState(null, '', `/new?${new URLSearchParams(fields)}`);
    }, DELAY);
  };

  document.addEventListener('input', event => {
    if (event.target.form === form) change();
  });

  form.addEventListener('submit', async event => {
    event.preventDefault();
    const body = document.getElementById('job-body');
    const button = document.querySelector('[data-create]');
    if (!body || button.disabled) return;
    button.disabled = true;
    try {
      const job = await ftkit.api('POST', '/v1/fine_tuning/jobs', JSON.parse(body.textContent));
      location.assign(`/jobs/${job.id}`);
    } catch (error) {
      ftkit.say(error.message, 'error');
      button.disabled = false;
    }
  });
})();
