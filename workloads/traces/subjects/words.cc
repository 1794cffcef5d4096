// Counts the words of a text: a small program whose compilation is a large one, because of the templates that it
// uses. It is compiled for scripts/make-recordings, and never run.
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

namespace {

struct Word {
    std::string text;
    std::vector<std::size_t> places;
};

using Found = std::variant<std::monostate, long, double, Word>;

Found look(const std::string &text, std::size_t place) {
    static const std::regex whole("[+-]?[0-9]+"), fraction("[+-]?[0-9]*\\.[0-9]+([eE][+-]?[0-9]+)?"), word("[[:alpha:]][[:alnum:]_'-]*");
    if (std::regex_match(text, whole)) return std::stol(text);
    if (std::regex_match(text, fraction)) return std::stod(text);
    if (std::regex_match(text, word)) return Word{text, {place}};
    return {};
}

class Book {
public:
    void read(std::istream &in) {
        std::string text;
        for (std::size_t place = 0; in >> text; place++)
            std::visit([this](auto &&found) { add(found); }, look(text, place));
    }

    std::vector<std::shared_ptr<Word>> most(std::size_t count, const std::function<bool(const Word &)> &wanted) const {
        std::vector<std::shared_ptr<Word>> words;
        for (const auto &[text, word] : words_)
            if (wanted(*word)) words.push_back(word);
        std::stable_sort(words.begin(), words.end(), [](const auto &one, const auto &other) {
            return one->places.size() > other->places.size();
        });
        words.resize(std::min(count, words.size()));
        return words;
    }

private:
    void add(const Word &word) {
        auto &known = words_[word.text];
        if (!known) known = std::make_shared<Word>(Word{word.text, {}});
        known->places.insert(known->places.end(), word.places.begin(), word.places.end());
        lengths_[word.text.size()]++;
    }
    void add(long number) { numbers_[static_cast<double>(number)]++; }
    void add(double number) { numbers_[number]++; }
    void add(std::monostate) { others_++; }

    std::unordered_map<std::string, std::shared_ptr<Word>> words_;
    std::map<std::size_t, unsigned> lengths_;
    std::map<double, unsigned> numbers_;
    unsigned others_ = 0;
};

}  // namespace

int main() {
    Book book;
    book.read(std::cin);
    std::ostringstream out;
    for (const auto &word : book.most(10, [](const Word &word) { return word.text.size() > 3; }))
        out << word->text << ' ' << word->places.size() << '\n';
    std::cout << out.str();
}
