const find = document.querySelector('input'), count = document.querySelector('output');
const body = document.querySelector('tbody'), heads = [...document.querySelectorAll('thead th')];
const rows = [...body.rows].map(row => ({ row, text: row.textContent.toLowerCase() }));

const search = () => {
  const words = find.value.toLowerCase().split(/\s+/).filter(word => word);
  let shown = 0;
  for (const { row, text } of rows) {
    row.hidden = !words.every(word => text.includes(word));
    shown += !row.hidden;
  }
  count.textContent = shown.toLocaleString('en');
};

const sortKey = (row, column, isNumber) => {
  const cell = row.cells[column], value = cell.dataset.value ?? cell.textContent;
  return isNumber ? (value === '' ? null : Number(value)) : value;
};

const sort = (head, column) => {
  const isNumber = head.classList.contains('number');
  const descending = head.ariaSort === 'ascending' || (head.ariaSort !== 'descending' && isNumber);
  const sign = descending ? -1 : 1;
  const keyed = rows.map(({ row }) => ({ row, key: sortKey(row, column, isNumber) }));
  keyed.sort(({ key: a }, { key: b }) => {
    // Empty cells come last in both directions.
    const empty = isNumber ? (a === null) - (b === null) : (a === '') - (b === '');
    return empty || sign * (isNumber ? a - b : a < b ? -1 : a > b ? 1 : 0);
  });
  heads.forEach(other => other.removeAttribute('aria-sort'));
  head.ariaSort = descending ? 'descending' : 'ascending';
  body.append(...keyed.map(({ row }) => row));
};

find.addEventListener('input', search);
heads.forEach((head, column) =>
  head.querySelector('button')?.addEventListener('click', () => sort(head, column)));
search();
