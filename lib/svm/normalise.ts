/** What is added to a row's length before it is divided by it; VISSL's, so that a row of zeros stays one. */
export const addedToLength = 1e-5;
const epsilon = Math.fround(addedToLength);

/**
 * Divides each row by its length, in place: x / (‖x‖ + 1e-5) in single precision, as VISSL does it to float32 features.
 *
 * @param rows row by row. Shape [n, width].
 * @returns how many rows are zero, and stay so.
 */
export function normaliseRows(rows: Float32Array, width: number): number {
  let zeros = 0;
  for (let start = 0; start < rows.length; start += width) {
    const row = rows.subarray(start, start + width);
    let squares = 0;
    for (let i = 0; i < width; i++) squares += row[i]! * row[i]!;
    if (squares === 0) zeros++;
    const length = Math.fround(Math.fround(Math.sqrt(squares)) + epsilon);
    for (let i = 0; i < width; i++) row[i]! /= length;
  }
  return zeros;
}
