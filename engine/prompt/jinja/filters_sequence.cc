// Filters on lists, dicts and everything else that can be iterated.
#include <algorithm>
#include <functional>

#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/repr.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {
namespace {

// Where Jinja has a generator: the items are made at once, but an error counts only when the
// iteration comes to its place.
Value Generate(Runtime& runtime, const std::function<void(std::vector<Value>*)>& make) {
  std::vector<Value> items;
  std::unique_ptr<Error> failure;
  try {
    make(&items);
  } catch (const Error& error) {
    if (error.kind == Error::Kind::kLimit) throw;
    failure = std::make_unique<Error>(error);
  }
  const Value iterator = runtime.Iterator(std::move(items));
  iterator.As<IteratorObject>().failure = std::move(failure);
  return iterator;
}

Value FoldCase(const Value& value, bool case_sensitive) {
  return !case_sensitive && value.IsString() ? Value::String(Lower(value.Text())) : value;
}

Value PathOrDefault(Runtime& runtime, const Value& item, const Value& path,
                    const Value& otherwise) {
  // Jinja replaces what is undefined after each part of the path.
  const bool replace = !otherwise.IsUndefined() && !otherwise.IsNone();
  if (!replace) return runtime.GetPath(item, path);
  if (!path.IsString()) {
    Value value = runtime.GetPath(item, path);
    return value.IsUndefined() ? otherwise : value;
  }
  Value value = item;
  for (const std::string& part : Split(path.Text(), ".", -1, false)) {
    value = runtime.GetPath(value, Value::String(part));
    if (value.IsUndefined()) value = otherwise;
  }
  return value;
}

void ChargeSort(Runtime& runtime, size_t n) {
  int64_t log = 1;
  for (size_t rest = n; rest > 1; rest /= 2) ++log;
  runtime.Charge(static_cast<int64_t>(n) * log);
}

// sorted(items, key=...): `keys` beside the items.
std::vector<Value> Sorted(Runtime& runtime, const std::vector<Value>& items,
                          const std::vector<Value>& keys, bool reverse) {
  ChargeSort(runtime, items.size());
  std::vector<size_t> order(items.size());
  for (size_t i = 0; i < order.size(); ++i) order[i] = i;
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return reverse ? Compare(keys[b], keys[a], "<") == -1 : Compare(keys[a], keys[b], "<") == -1;
  });
  std::vector<Value> out;
  for (const size_t i : order) out.push_back(items[i]);
  return out;
}

Value LengthFilter(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("len", args, {});
  return Value::Int(runtime.Length(self));
}

Value ListFilter(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("list", args, {});
  return Value::List(runtime.Iterate(self));
}

Value First(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("first", args, {});
  if (self.Is(Kind::kIterator)) {
    auto& iterator = self.As<IteratorObject>();
    if (iterator.next < iterator.items.size()) return iterator.items[iterator.next++];
  }
  const std::vector<Value> items = runtime.Iterate(self);
  return items.empty() ? Value::Undefined("No first item, sequence was empty.") : items.front();
}

Value Last(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("last", args, {});
  if (self.Is(Kind::kIterator)) TypeError("'generator' object is not reversible");
  const std::vector<Value> items = runtime.Iterate(self);
  return items.empty() ? Value::Undefined("No last item, sequence was empty.") : items.back();
}

Value Join(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("join", args, {"d", "attribute"});
  const std::string separator = bound.Has(0) ? Str(bound[0]) : "";
  std::string out;
  bool first = true;
  for (const Value& item : runtime.Iterate(self)) {
    const std::string text = Str(bound.HasValue(1) ? runtime.GetPath(item, bound[1]) : item);
    runtime.ChargeText(text.size() + separator.size());
    runtime.CheckText(out.size() + text.size() + separator.size());
    if (!first) out += separator;
    first = false;
    out += text;
  }
  return runtime.NewText(std::move(out));
}

Value Reverse(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("reverse", args, {});
  if (self.IsString()) {
    return runtime.Slice(self, Value::None(), Value::None(), Value::Int(-1));
  }
  std::vector<Value> items = runtime.Iterate(self);
  std::reverse(items.begin(), items.end());
  if (self.Is(Kind::kIterator)) return Value::List(std::move(items));
  return runtime.Iterator(std::move(items), "list_reverseiterator");
}

Value ItemsFilter(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("items", args, {});
  return Generate(runtime, [&](std::vector<Value>* out) {
    if (self.IsUndefined()) return;
    if (!self.Is(Kind::kDict)) TypeError("Can only get item pairs from a mapping.");
    for (const auto& [key, value] : self.AsDict().entries) {
      runtime.Charge(1);
      out->push_back(Value::Tuple({key, value}));
    }
  });
}

Value DictSort(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("dictsort", args, {"case_sensitive", "by", "reverse"});
  const std::string by = bound.Has(1) ? Str(bound[1]) : "key";
  if (by != "key" && by != "value") {
    Fail(Error::Kind::kRuntime, "You can only sort by either \"key\" or \"value\"");
  }
  RequireDefined(self);
  if (!self.Is(Kind::kDict)) TypeError("dictsort: a mapping is required");
  std::vector<Value> items, keys;
  for (const auto& [key, value] : self.AsDict().entries) {
    items.push_back(Value::Tuple({key, value}));
    keys.push_back(FoldCase(by == "key" ? key : value, bound.Bool(0, false)));
  }
  return Value::List(Sorted(runtime, items, keys, bound.Bool(2, false)));
}

Value Sort(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("sort", args, {"reverse", "case_sensitive", "attribute"});
  const bool case_sensitive = bound.Bool(1, false);
  std::vector<Value> paths;
  if (bound.Has(2) && bound[2].IsString()) {
    for (std::string& part : Split(bound[2].Text(), ",", -1, false)) {
      paths.push_back(Value::String(std::move(part)));
    }
  } else {
    paths.push_back(bound.Or(2, Value::None()));
  }
  const std::vector<Value> items = runtime.Iterate(self);
  std::vector<Value> keys;
  for (const Value& item : items) {
    std::vector<Value> key;
    for (const Value& path : paths) {
      key.push_back(FoldCase(runtime.GetPath(item, path), case_sensitive));
    }
    keys.push_back(Value::List(std::move(key)));
  }
  return Value::List(Sorted(runtime, items, keys, bound.Bool(0, false)));
}

Value Unique(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("unique", args, {"case_sensitive", "attribute"});
  return Generate(runtime, [&](std::vector<Value>* out) {
    DictObject seen;
    for (const Value& item : runtime.Iterate(self)) {
      const Value key =
          FoldCase(runtime.GetPath(item, bound.Or(1, Value::None())), bound.Bool(0, false));
      if (seen.Find(key) != nullptr) continue;
      seen.Set(key, Value::None());
      out->push_back(item);
    }
  });
}

template <int kSign>
Value Extreme(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("min/max", args, {"case_sensitive", "attribute"});
  const std::vector<Value> items = runtime.Iterate(self);
  if (items.empty()) return Value::Undefined("No aggregated item, sequence was empty.");
  size_t best = 0;
  Value best_key;
  for (size_t i = 0; i < items.size(); ++i) {
    Value key =
        FoldCase(runtime.GetPath(items[i], bound.Or(1, Value::None())), bound.Bool(0, false));
    if (i > 0 && Compare(key, best_key, kSign < 0 ? "<" : ">") != kSign) continue;
    best = i;
    best_key = std::move(key);
  }
  return items[best];
}

Value Sum(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("sum", args, {"attribute", "start"});
  Value total = bound.Or(1, Value::Int(0));
  if (total.IsString()) TypeError("sum() can't sum strings [use ''.join(seq) instead]");
  for (const Value& item : runtime.Iterate(self)) {
    total = runtime.Binary(Arithmetic::kAdd, total,
                           bound.HasValue(0) ? runtime.GetPath(item, bound[0]) : item);
  }
  return total;
}

Value GroupBy(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("groupby", args, {"attribute", "default", "case_sensitive"}, 1);
  const bool case_sensitive = bound.Bool(2, false);
  const std::vector<Value> items = runtime.Iterate(self);
  std::vector<Value> keys;
  std::vector<Value> pairs;
  for (const Value& item : items) {
    const Value key = PathOrDefault(runtime, item, bound[0], bound[1]);
    keys.push_back(FoldCase(key, case_sensitive));
    pairs.push_back(Value::Tuple({keys.back(), key, item}));
  }
  std::vector<Value> groups;
  std::vector<Value> members;
  Value group_key, shown_key;
  const auto finish = [&] {
    if (members.empty()) return;
    const Value list = Value::List(std::exchange(members, {}));
    auto group = std::make_shared<SequenceObject>();
    group->group = true;
    group->depth = DepthAround(std::max(DepthOf(shown_key), DepthOf(list)));
    group->items = {shown_key, list};
    groups.push_back(Value::Of(Kind::kTuple, std::move(group)));
  };
  for (const Value& pair : Sorted(runtime, pairs, keys, false)) {
    const auto& [key, shown, item] = std::tie(pair.Items()[0], pair.Items()[1], pair.Items()[2]);
    if (!members.empty() && !Equal(key, group_key)) finish();
    if (members.empty()) {
      group_key = key;
      shown_key = shown;
    }
    members.push_back(item);
  }
  finish();
  return Value::List(std::move(groups));
}

Value Batch(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("batch", args, {"linecount", "fill_with"}, 1);
  return Generate(runtime, [&](std::vector<Value>* out) {
    std::vector<Value> line;
    const auto full = [&] {
      return Equal(Value::Int(static_cast<int64_t>(line.size())), bound[0]);
    };
    for (const Value& item : runtime.Iterate(self)) {
      if (full()) out->push_back(Value::List(std::exchange(line, {})));
      line.push_back(item);
    }
    if (line.empty()) return;
    if (bound.HasValue(1)) {
      const int64_t missing = bound.Int(0, 0) - static_cast<int64_t>(line.size());
      for (int64_t i = 0; i < missing; ++i) {
        runtime.Charge(1);
        line.push_back(bound[1]);
      }
    }
    out->push_back(Value::List(std::move(line)));
  });
}

Value SliceFilter(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("slice", args, {"slices", "fill_with"}, 1);
  return Generate(runtime, [&](std::vector<Value>* out) {
    const std::vector<Value> items = runtime.Iterate(self);
    const auto length = static_cast<int64_t>(items.size());
    const int64_t slices = bound.Int(0, 0);
    if (slices == 0) Fail(Error::Kind::kArithmetic, "ZeroDivisionError: division by zero");
    const int64_t each = slices > 0 ? length / slices : 0;
    const int64_t extra = slices > 0 ? length % slices : 0;
    int64_t at = 0;
    for (int64_t i = 0; i < slices; ++i) {
      runtime.Charge(1);
      const int64_t end = at + each + (i < extra ? 1 : 0);
      std::vector<Value> part(items.begin() + at, items.begin() + end);
      if (bound.HasValue(1) && i >= extra) part.push_back(bound[1]);
      out->push_back(Value::List(std::move(part)));
      at = end;
    }
  });
}

Value Map(Runtime& runtime, const Value& self, Arguments& args) {
  return Generate(runtime, [&](std::vector<Value>* out) {
    if (!Truth(self)) return;
    const auto named = std::find_if(args.keywords.begin(), args.keywords.end(),
                                    [](const auto& k) { return k.first == "attribute"; });
    if (args.positional.empty() && named != args.keywords.end()) {
      const Bound bound("map", args, {"attribute", "default"});
      for (const Value& item : runtime.Iterate(self)) {
        out->push_back(PathOrDefault(runtime, item, bound[0], bound[1]));
      }
      return;
    }
    if (args.positional.empty()) Fail(Error::Kind::kRuntime, "map requires a filter argument");
    const std::string name = RequireText(args.positional[0], "map");
    Arguments rest = args;
    rest.positional.erase(rest.positional.begin());
    for (const Value& item : runtime.Iterate(self)) {
      out->push_back(runtime.CallFilter(name, item, rest));
    }
  });
}

template <bool kAttribute, bool kWanted>
Value SelectFilter(Runtime& runtime, const Value& self, Arguments& args) {
  return Generate(runtime, [&](std::vector<Value>* out) {
    if (!Truth(self)) return;
    Arguments rest = args;
    Value path;
    if (kAttribute) {
      if (rest.positional.empty()) {
        Fail(Error::Kind::kRuntime, "Missing parameter for attribute name");
      }
      path = rest.positional[0];
      rest.positional.erase(rest.positional.begin());
    }
    std::string test;
    if (!rest.positional.empty()) {
      test = RequireText(rest.positional[0], "select");
      rest.positional.erase(rest.positional.begin());
    }
    for (const Value& item : runtime.Iterate(self)) {
      const Value value = kAttribute ? runtime.GetPath(item, path) : item;
      const bool holds = test.empty() ? Truth(value) : runtime.CallTest(test, value, rest);
      if (holds == kWanted) out->push_back(item);
    }
  });
}

Value Attr(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("attr", args, {"name"}, 1);
  if (auto found = runtime.Attribute(self, bound.Text(0))) return *std::move(found);
  return runtime.Undefined(self, bound[0]);
}

constexpr Named kFilters[] = {
    {"attr", Attr},
    {"batch", Batch},
    {"count", LengthFilter},
    {"dictsort", DictSort},
    {"first", First},
    {"groupby", GroupBy},
    {"items", ItemsFilter},
    {"join", Join},
    {"last", Last},
    {"length", LengthFilter},
    {"list", ListFilter},
    {"map", Map},
    {"max", Extreme<1>},
    {"min", Extreme<-1>},
    {"reject", SelectFilter<false, false>},
    {"rejectattr", SelectFilter<true, false>},
    {"reverse", Reverse},
    {"select", SelectFilter<false, true>},
    {"selectattr", SelectFilter<true, true>},
    {"slice", SliceFilter},
    {"sort", Sort},
    {"sum", Sum},
    {"unique", Unique},
};

}  // namespace

Function FindSequenceFilter(std::string_view name) { return FindIn(kFilters, name); }

}  // namespace inhouse::engine::jinja
