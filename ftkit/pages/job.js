/* The page of a job: a chart of each metric, live while the job runs.

   data-charts="URL"   the element for the charts; the URL has them as JSON: version, charts, and
                       isOver if they will not change. Without one, #charts-data has the charts
   data-seconds="N"    seconds between requests for this URL */
'use strict';
(() => {
  const root = document.querySelector('[data-charts]');
  const shown = new Map();

  const show = charts => {
    if (charts.length && !shown.size) root.replaceChildren();
    for (const data of charts) {
      const chart = shown.get(data.y);
      if (chart) chart.update(data);
      else shown.set(data.y, add(data));
    }
  };

  const add = data => {
    const title = document.createElement('h3'), box = document.createElement('div');
    title.textContent = data.y[0].toUpperCase() + data.y.slice(1);
    const figure = document.createElement('div');
    figure.append(title, box);
    root.append(figure);
    return ftkitChart(box, data);
  };

  const poll = async (url, version) => {
    const address = new URL(url, location);
    address.searchParams.set('version', version);
    let next = version, isOver = false;
    try {
      const response = await fetch(address, { credentials: 'same-origin' });
      if (response.status === 404 || response.redirected) return;
      if (response.status === 200) ({ version: next, isOver } = await read(response));
    } catch { /* the service does not answer, perhaps for a moment */ }
    if (isOver) return;
    await pause(Number(root.dataset.seconds));
    poll(url, next);
  };

  /* Resolves after some seconds, and not before the page is shown. */
  const pause = seconds => new Promise(resolve => setTimeout(() => {
    if (document.hidden) document.addEventListener('visibilitychange', resolve, { once: true });
    else resolve();
  }, seconds * 1000));

  const read = async response => {
    const answer = await response.json();
    show(answer.charts);
    return answer;
  };

  if (root?.dataset.charts) poll(root.dataset.charts, '');
  else if (root) show(JSON.parse(document.getElementById('charts-data').textContent));

  if (typeof htmx === 'undefined') return;  /* a page in a file, which does not change */

  /* What the reader has opened stays open when the page is updated. */
  htmx.config.morphIgnore.push('open');

  /* A button that is gone after its action leaves the focus to the first one that replaces it. */
  let hasActed = false;
  document.addEventListener('click', event => { hasActed ||= Boolean(event.target.closest('[data-action]')); });
  document.addEventListener('htmx:after:swap', () => {
    if (hasActed && document.activeElement === document.body) document.querySelector('#actions button')?.focus();
    hasActed = false;
  });

  document.addEventListener('htmx:before:swap', event => {
    const { raw, status } = event.detail.ctx.response ?? {};
    /* A login that has ended redirects to its form, which is no part of this page. */
    if (!raw?.redirected && status < 400) return;
    event.preventDefault();
    location.reload();
  });
})();
