/* Uploads of files.

   form data-upload data-next="PATH"   uploads the chosen file. One in JSON Lines is training data: the page
                                       at PATH and its id follows. Another one is to be converted
   button data-use="PATH" data-name="NAME" data-next="PATH"
                                       uploads what the service has at PATH as training data of that name */
'use strict';
(() => {
  const TRAINING = '.jsonl';

  const message = (request, text) => {
    try {
      return JSON.parse(text).error.message;
    } catch {
      return request.status ? `The service answered ${request.status}.` : 'The upload was interrupted. Is the service still running?';
    }
  };

  const send = (content, name, purpose, onProgress) => new Promise((resolve, reject) => {
    const form = new FormData(), request = new XMLHttpRequest();
    form.append('purpose', purpose);
    form.append('file', content, name);
    request.upload.addEventListener('progress', event => onProgress(event.loaded / event.total));
    request.addEventListener('loadend', () => {
      if (request.status === 401) ftkit.logIn();
      if (request.status === 200) resolve(JSON.parse(request.responseText).id);
      else reject(new Error(message(request, request.responseText)));
    });
    request.open('POST', '/v1/files');
    request.send(form);
  });

  const upload = async (place, button, content, name, purpose) => {
    const bar = place.querySelector('progress'), status = place.querySelector('[data-status]');
    button.disabled = true;
    bar.hidden = false;
    bar.value = 0;
    status.textContent = `Uploading ${name}…`;
    try {
      return await send(content, name, purpose, share => { bar.value = share; });
    } catch (error) {
      bar.hidden = true;
      button.disabled = false;
      status.replaceChildren(ftkit.errorBox(error.message));
      return null;
    }
  };

  document.addEventListener('submit', async event => {
    const form = event.target.closest('[data-upload]');
    if (!form) return;
    event.preventDefault();
    const file = form.elements.file.files[0], button = form.querySelector('button');
    if (!file || button.disabled) return;
    const isTraining = file.name.toLowerCase().endsWith(TRAINING);
    const name = isTraining ? file.name.slice(0, -TRAINING.length) + TRAINING : file.name;
    const purpose = isTraining ? 'fine-tune' : 'user_data';
    const id = await upload(form, button, file, name, purpose);
    if (id) location.assign(isTraining ? form.dataset.next + id : `/files/${id}/convert`);
  });

  document.addEventListener('click', async event => {
    const button = event.target.closest('[data-use]');
    if (!button || button.disabled) return;
    button.disabled = true;
    const response = await fetch(button.dataset.use, { redirect: 'error' }).catch(() => null);
    if (!response?.ok) {
      location.reload();  // the examples are not kept any more, and are made again
      return;
    }
    const place = button.closest('section');
    const id = await upload(place, button, await response.blob(), button.dataset.name, 'fine-tune');
    if (id) location.assign(button.dataset.next + id);
  });
})();
