/** What a page looks like to those who read it: functions that run in the page, and return sentences that say what is wrong. */

/** Text that is smaller than 12 px, or too faint: its contrast with what is behind it is below 4.5 (WCAG 2.2, 1.4.3). */
export function faintText(): string[] {
  const numbers = (colour: string) => (colour.match(/[\d.]+/g) ?? []).map(Number);
  const light = (colour: string): number => {
    const [r, g, b] = numbers(colour).map((value) => {
      const part = value / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    }) as [number, number, number];
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element: Element | null): string => {
    if (element === null) return 'rgb(255, 255, 255)';
    const colour = getComputedStyle(element).backgroundColor;
    return numbers(colour)[3] === 0 ? behind(element.parentElement) : colour;
  };
  const wrong: string[] = [];
  const look = (element: Element, text: string): void => {
    const { fontSize, color } = getComputedStyle(element);
    const [a, b] = [light(color), light(behind(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (Number.parseFloat(fontSize) < 12) wrong.push(`${text}: ${fontSize}`);
    if (contrast < 4.5) wrong.push(`${text}: contrast ${contrast.toFixed(2)}`);
  };
  // The list of options is drawn by the system, the chosen one by the page.
  for (const select of document.querySelectorAll('select:enabled')) {
    look(select, (select as HTMLSelectElement).selectedOptions[0]!.text);
  }
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node !== null; node = walker.nextNode()) {
    const element = node.parentElement!;
    const text = node.textContent!.trim();
    // What cannot be used now need not be read (WCAG).
    if (text === '' || element.closest(':disabled, option, .visually-hidden') !== null) continue;
    if (element.checkVisibility({ visibilityProperty: true })) look(element, text);
  }
  return wrong;
}

/** Controls that are less than 40 px wide or high. */
export function smallControls(): string[] {
  const controls = document.querySelectorAll('button, select, a[href], .button, [tabindex="0"]');
  return [...controls].flatMap((control) => {
    const { width, height } = control.getBoundingClientRect();
    const there = control.checkVisibility();
    return there && (width < 40 || height < 40)
      ? [`${control.id || control.textContent}: ${width}x${height}`]
      : [];
  });
}

/** Elements that are not wholly on the screen, of a page that was not scrolled; and a page that is wider than it. */
export function beyondScreen(selectors: readonly string[]): string[] {
  const wrong = selectors.filter((selector) => {
    const element = document.querySelector(selector)!;
    const { top, bottom, left, right, width, height } = element.getBoundingClientRect();
    const seen = element.checkVisibility() && width > 0 && height > 0;
    return !seen || top < 0 || left < 0 || bottom > innerHeight || right > innerWidth;
  });
  if (document.documentElement.scrollWidth > innerWidth) wrong.push('the page, by its width');
  if (scrollY !== 0) wrong.push('the beginning: it was scrolled');
  return wrong;
}
