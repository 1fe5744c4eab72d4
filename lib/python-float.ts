/** A number as Python writes a float, which VISSL's and CoG's files are named by: `2.0`, `0.01`, `1e-05`. */
export function pythonFloat(value: number): string {
  const [digits, exponent] = value.toExponential().split("e") as [string, string];
  const power = Number(exponent);
  if (power < -4 || power >= 16) {
    const size = String(Math.abs(power)).padStart(2, "0");
    return `${digits}e${power < 0 ? "-" : "+"}${size}`;
  }
  // JavaScript writes numbers from 1e-6 to 1e21 without an exponent.
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
