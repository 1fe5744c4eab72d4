import { z } from "zod";

import { jsonSchemaOf } from "../../lib/settings/options.js";
import { splitList, valueOfText } from "../../lib/settings/text.js";
import { wordsOf } from "../../lib/settings/words.js";

test.each([
  ["a,b", ["a", "b"]],
  [" a , b ,", ["a", "b"]],
  ["res4:avg_pool(8x8,3,0),res5", ["res4:avg_pool(8x8,3,0)", "res5"]],
  ["f([1,2],{3,4}),5", ["f([1,2],{3,4})", "5"]],
  ["", []],
])("commas inside of brackets do not separate: %j", (text, items) => {
  expect(splitList(text)).toEqual(items);
});

test.each([
  [z.number(), "1e-3", 0.001],
  [z.number(), "-.5", -0.5],
  [z.number(), "0x10", "0x10"],
  [z.number(), "", ""],
  [z.int(), "3", 3],
  [z.string(), "3", "3"],
  [z.boolean(), "true", true],
  [z.enum(["a", "b"]), "c", "c"],
  [z.union([z.int(), z.enum(["auto"])]), "4", 4],
  [z.union([z.int(), z.enum(["auto"])]), "auto", "auto"],
  [z.union([z.string(), z.tuple([z.string()])]), "4", "4"],
  [z.array(z.number()), "1,x", [1, "x"]],
  [z.array(z.string()), "[broken", ["[broken"]],
])("a text becomes the value that the schema asks for, or stays text", (schema, text, value) => {
  expect(valueOfText(text, jsonSchemaOf(schema))).toEqual(value);
});

test.each([
  [z.number(), "a number"],
  [z.int(), "a whole number"],
  [z.int().min(1).max(9), "a whole number in [1, 9]"],
  [z.number().gt(0).lt(1), "a number in (0, 1)"],
  [z.number().max(1), "a number of at most 1"],
  [z.number().lt(1), "a number below 1"],
  [z.boolean(), "true or false"],
  [z.enum(["a", "b", "c"]), "a, b or c"],
  [z.union([z.int().min(1), z.literal("all")]), "a whole number of at least 1 or all"],
  [z.array(z.string()).min(1), "a list of at least 1 of: a text"],
  [z.array(z.int()).length(2), "a list of 2 of: a whole number"],
  [z.array(z.unknown()), "a list"],
  [z.tuple([z.string(), z.int()]), "a list [a text, a whole number]"],
  [z.string().meta({ expected: "a folder" }).optional(), "a folder"],
])("a schema in words", (schema, words) => {
  expect(wordsOf(jsonSchemaOf(schema))).toBe(words);
});
