// Chains of one instruction on named registers, as chains.h has them for x86.
#pragma once

// `rounds` (an int64_t > 0 that is counted down to 0) times `body` on the registers 0 to 23, which
// are cleared before; `body` may use 24 to 30 as well; 31 is loaded from `operand`, an lvalue of 16
// bytes. 24 chains hide a latency of six cycles at four instructions a cycle.
#define INHOUSE_PROBE_LOOP(operand, body, rounds)                                                  \
  asm volatile(                                                                                    \
      "ldr q31, %1\n\t"                                                                            \
      ".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23\n\t"                   \
      "movi v\\r\\().2d, #0\n\t.endr\n"                                                            \
      "0:\n\t" body                                                                                \
      "subs %0, %0, #1\n\t"                                                                        \
      "b.ne 0b"                                                                                    \
      : "+r"(rounds)                                                                               \
      : "m"(operand)                                                                               \
      : "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10", "v11", "v12", "v13",    \
        "v14", "v15", "v16", "v17", "v18", "v19", "v20", "v21", "v22", "v23", "v24", "v25", "v26", \
        "v27", "v28", "v29", "v30", "v31", "cc")

// `instruction` on each of the 24, multiplying register 31, whose lanes are `lanes`, by itself.
#define INHOUSE_PROBE_CHAINS(instruction, lanes)                                         \
  ".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23\n\t" instruction \
  " v\\r\\().4s, v31." lanes ", v31." lanes "\n\t.endr\n\t"
