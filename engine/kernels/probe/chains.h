// Chains of one instruction on named registers, in one block of assembly. Accumulators that the
// compiler places may end up in memory (a loop over an array of them does with GCC 12), and the
// probe then measures half of what the unit can do.
#pragma once

// `rounds` (an int64_t > 0 that is counted down to 0) times `body` on registers 0 to 11, which are
// cleared before; `body` may use 12 to 15 as well: 15 is loaded from `operand`, a lvalue of
// `bytes` bytes. Twelve chains hide a latency of six cycles at two instructions a cycle.
#define INHOUSE_PROBE_LOOP(registers, load, operand, body, rounds)                               \
  asm volatile(load " %1, %%" registers                                                          \
                    "15\n\t"                                                                     \
                    ".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14\n\t"                              \
                    "vxorps %%xmm\\r, %%xmm\\r, %%xmm\\r\n\t"                                    \
                    ".endr\n"                                                                    \
                    "0:\n\t" body                                                                \
                    "sub $1, %0\n\t"                                                             \
                    "jnz 0b\n\t"                                                                 \
               : "+r"(rounds)                                                                    \
               : "m"(operand)                                                                    \
               : "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
                 "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "cc")

// `instruction` on each of the twelve, multiplying register 15 by itself.
#define INHOUSE_PROBE_CHAINS(registers, instruction)                                    \
  ".irp r,0,1,2,3,4,5,6,7,8,9,10,11\n\t" instruction " %%" registers "15, %%" registers \
  "15, %%" registers "\\r\n\t.endr\n\t"

// The fastest chain without VNNI for signed codes of eight bits, on codes that were widened before.
// VPMADDUBSW takes one of its factors unsigned and the sum of two such products fills its 16 bits:
// with the VPSIGNB before it and the VPMADDWD behind it, it is no fewer instructions.
#define INHOUSE_PROBE_MADD8(registers)                          \
  ".irp r,0,1,2,3,4,5,6,7,8,9,10,11\n\t"                        \
  "vpmaddwd %%" registers "15, %%" registers "15, %%" registers \
  "12\n\t"                                                      \
  "vpaddd %%" registers "12, %%" registers "\\r, %%" registers  \
  "\\r\n\t"                                                     \
  ".endr\n\t"

// For codes of four bits: products of u8 and s8 codes are added in 16 bits eight times (registers 0
// to 5) and then widened to 32 bits (registers 6 to 11; 13 stands for the 16-bit ones).
#define INHOUSE_PROBE_ADD16(registers)                            \
  ".rept 8\n\t.irp r,0,1,2,3,4,5\n\t"                             \
  "vpmaddubsw %%" registers "15, %%" registers "15, %%" registers \
  "12\n\t"                                                        \
  "vpaddw %%" registers "12, %%" registers "\\r, %%" registers "\\r\n\t.endr\n\t.endr\n\t"

#define INHOUSE_PROBE_WIDEN(registers, from, to)                   \
  "vpmaddwd %%" registers "13, %%" registers from ", %%" registers \
  "12\n\t"                                                         \
  "vpaddd %%" registers "12, %%" registers to ", %%" registers to  \
  "\n\t"                                                           \
  "vxorps %%xmm" from ", %%xmm" from ", %%xmm" from "\n\t"

#define INHOUSE_PROBE_MADD4(registers)     \
  INHOUSE_PROBE_ADD16(registers)           \
  INHOUSE_PROBE_WIDEN(registers, "0", "6") \
  INHOUSE_PROBE_WIDEN(registers, "1", "7") \
  INHOUSE_PROBE_WIDEN(registers, "2", "8") \
  INHOUSE_PROBE_WIDEN(registers, "3", "9") \
  INHOUSE_PROBE_WIDEN(registers, "4", "10") INHOUSE_PROBE_WIDEN(registers, "5", "11")
