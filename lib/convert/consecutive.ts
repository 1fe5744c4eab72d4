/** What there is under 0, 1, 2 … until there is nothing. */
export function consecutive<T>(at: (index: number) => T | undefined, first = 0): T[] {
  const found: T[] = [];
  for (let index = first; ; index++) {
    const one = at(index);
    if (one === undefined) return found;
    found.push(one);
  }
}
