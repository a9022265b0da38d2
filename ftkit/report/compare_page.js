const find = document.querySelector('input'), pairs = [...document.querySelectorAll('article')];
const count = document.querySelector('output');
const texts = pairs.map(pair => pair.textContent.toLowerCase());
find.addEventListener('input', () => {
  const query = find.value.toLowerCase();
  pairs.forEach((pair, index) => { pair.hidden = !texts[index].includes(query); });
  count.textContent = pairs.filter(pair => !pair.hidden).length;
});
