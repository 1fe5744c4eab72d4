/**
 * A transform for images of another size: sides of `resize` and `center_crop` grow by the same factor.
 *
 * @param from height that the transform gives.
 * @param to height that it shall give.
 */
export function scaledTransform(transform: string, from: number, to: number): string {
  if (from === to) return transform;
  const scaled = (size: string) => String(Math.round((Number(size) * to) / from));
  return transform.replaceAll(
    /\b(resize|center_crop)\((\d+)(?:x(\d+))?/g,
    (_, step: string, height: string, width?: string) =>
      `${step}(${scaled(height)}${width === undefined ? "" : `x${scaled(width)}`}`,
  );
}
