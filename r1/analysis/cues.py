"""The ways English and Chinese thoughts say that they check, turn back, plan or understand: the rules of `reflection.py`.

Patterns are for lower-case text with straight apostrophes, and a space in them stands for any white space.
"""

from __future__ import annotations

import re
from typing import NamedTuple

HAN = "\u4e00"  # in place of triggers: tried wherever there is a Chinese character


class Cue(NamedTuple):
    """One way to say it.

    triggers  the pattern is tried only where one of these occurs: a substring is found a hundred times faster than a pattern
    opens     only at the start of a clause, where the word speaks about the thought itself
    """

    kind: str
    triggers: tuple[str, ...] | str
    pattern: str
    opens: bool = False

    @property
    def regex(self) -> re.Pattern[str]:
        return re.compile(self.pattern.replace(" ", r"\s+"))


_PAUSE = r"(?=\s*([,.!?…:;—–，。！？：；~-]|$))"
_US = r"(let me|let'?s|let us|i'?ll|i (will|should|must|can|could|need to|want to|have to|am going to)|we'?ll|we (will|should|must|can|could|need to|have to)|need to|i'?d (like to|better)|time to)"
_ADVERB = r"( (now|just|also|quickly|first|then|at least|carefully|briefly))?"
_OURS = r"(this|that|it|these|those|them|(if|whether)(?! there exist)|again|my|our|each|both|by|with|all|the (?!possible|remaining|other|following|next)(\w+ )?(answers?|results?|solutions?|calculations?|work|arithmetic|steps?|equations?|conditions?|sum|product|totals?|values?|numbers?|constraints?|reasoning|computation|case|math|formula|units))"

ENGLISH = (
    Cue("backtracking", ("wait",), rf"wait({_PAUSE}|(?= (no|actually|but|that|this|is|isn'?t|did|does|do|let|i|i'?m|we|if|what|why|how|maybe|because|so|it|there)\b)|(?= a (second|sec|minute|moment)\s*[,.!?…—-]))(?!\s*[,]? for\b)", True),
    Cue("backtracking", ("hold on", "hang on"), r"h(old|ang) on\b(?! (to|for|until|the (wall|line|rope)))", True),
    Cue("backtracking", ("actually",), r"actually\s*, (no|not|wait|i|i'm|we|that|this|it|let|hold|hmm|since)\b", True),
    Cue("backtracking", ("alternatively",), r"alternatively\s*,? (maybe|perhaps|let|i (could|can)|we could)", True),
    Cue("backtracking", ("oops", "nope", "scra", "strike", "never", "thought", "my ", "correction"), r"(oops|whoops|nope|scra(tch|p) that|strike that|never\s*mind|on second thoughts?|my (mistake|bad|error)|correction)\b" + _PAUSE, True),
    Cue("backtracking", ("right", "correct", "wrong", "off"), r"(that|this|it|something|which)('s| is| was| must be| seems?| looks?| can('t|not| not) be) (clearly |obviously |definitely )?(not (quite )?(right|correct)|wrong|incorrect|off)(?=\s*([,.!?;:…—-]|$|because|since|as|so))"),
    Cue("backtracking", ("right", "correct"), r"(that|this|it) (isn'?t|doesn'?t (look|seem|sound)|can'?t be) (quite )?(right|correct)\b"),
    Cue("backtracking", ("not the",), r"not the (correct|right) (approach|answer|way|method|path|result)\b"),
    Cue("backtracking", ("mistake", "error", "slip", "mis", "overlooked", "forgot", "messed", "mixed", "counted", "got "), r"(i|we)('ve| (have|must have|may have|might have|think (i|we)|seem to have|probably|just|actually))? (made (a|an|some|another) (\w+ ){0,2}(mistakes?|errors?|slip)|miscalculated|misread|misinterpreted|misunderstood|miscounted|overlooked|forgot|messed up|mixed up|double[-\s]counted|got (that|this|it) wrong)\b"),
    Cue("backtracking", ("re", "start", "try", "back", "begin again", "correct", "fix"), rf"{_US}{_ADVERB} (re-?(do|try|start|think|consider|examine|evaluate|visit|work|read|phrase|vise)|undo|start (over|again)|try (again|another|a different|something else|it differently)|go back|backtrack|back up|begin again|correct (that|this|it|my)|fix (that|this|my)|step back)\b"),
    Cue("backtracking", ("on re",), r"(upon|on) re-?(examin|consider|think|read|check|evaluat|calculat)\w*"),
    Cue("backtracking", ("n't", "not"), r"(that|this|it)( (approach|method|idea|path|way|line|guess|attempt|choice))?( also)? (doesn'?t|does not|didn'?t|did not|won'?t|will not|isn'?t) (work(ing)?|lead (anywhere|to the (correct|right))|help|get us)\b"),
    Cue("backtracking", ("dead end", "nowhere", "drawing board", "again"), r"(a )?dead end\b|leads nowhere|back to the drawing board|(so )?try(ing)? again" + _PAUSE),
    Cue("backtracking", ("wrong", "off"), r"something (must be|must have gone|is|went|has gone|seems|looks) (wrong|off)\b"),
    Cue("backtracking", ("wrong", "incorrect", "mistaken", "flawed", "not right", "not correct", "off"), r"(the|my|our|this|that) ((earlier|previous|first|initial|original) )?(claim|attempt|choice|assumption|guess|approach|method|answer|result|calculation|reasoning|formula|sign|idea|count)\b[^.,\n]{0,70}?\s(is|was|must be|seems|looks|can'?t be|cannot be)( also)? (wrong|incorrect|off|mistaken|flawed|not (right|correct))(?=\s*([,.!?;:…—-]|$|because|since|as|so))"),
    Cue("backtracking", ("slipped", "went wrong", "fails", "failed"), r"(i|we) (slipped|went wrong)\b|(this|that|my|the) (attempt|approach|method|idea|guess|choice|plan) fail(s|ed)\b"),
    Cue("backtracking", ("the correct ",), r"the correct (equation|simplification|approach|expression|formula|calculation|expansion|setup|computation) (is|should|would|involves)\b"),
    Cue("backtracking", ("instead",), r"(let'?s|let me|i('ll)?|we('ll)?) (should |could |can )?instead\b|instead\s*, (let|we|i|try|suppose)\b|try \S+ instead\b"),
    Cue("backtracking", ("not what", "should have"), r"(that|this|it)('s| is) not what\b|(i|we|it|that) should have (been|used|multiplied|divided|added|subtracted|taken|written|counted)\b"),
    Cue("backtracking", ("dropped", "missed", "lost", "skipped", "left out", "ignored", "swapped", "wrong"), r"(i|we) (dropped|missed|lost|skipped|left out|ignored|swapped|used the wrong) (a|an|the|one|that|two)?\s*(\w+ )?(case|factor|sign|term|condition|solution|digit|step|minus|root|formula|number|value|unit|zero|bracket|word)s?\b"),
    Cue("backtracking", ("back to",), r"back to (the (beginning|start|drawing|original|previous|first|second|last|equation|question|problem)|where (i|we))\b", True),
    Cue("verification", ("check", "verify"), rf"{_US}{_ADVERB} (double|re|cross|sanity)[-\s]?(check|verify)\b"),
    Cue("verification", ("verify", "validate", "confirm", "sure"), rf"{_US}{_ADVERB} (verify|validate|confirm|make sure|be sure)\b"),
    Cue("verification", ("check", "test"), rf"{_US}{_ADVERB} (check|test)({_PAUSE}|(?= {_OURS}\b))"),
    Cue("verification", ("check", "verify", "confirm", "sure", "safe", "certain"), rf"(to|just to) (double[-\s]?check|verify|check|confirm|be (sure|safe|certain)|make sure)({_PAUSE}|(?= {_OURS}\b))"),
    Cue("verification", ("verif", "check"), r"(\*\*)?(verification|check|checking|verify|verifying|sanity check|double[-\s]?check(ing)?|proof check)\s*(\*\*)?\s*[:：]", True),
    Cue("verification", ("checking", "verifying", "confirming"), rf"(double[-\s]?)?(checking|verifying|confirming) {_OURS}\b", True),
    Cue("verification", ("check",), r"(a )?(quick |final )?(sanity|double)[-\s]check\b"),
    Cue("verification", ("back",), r"(plug|put)\w* (\S+ ){0,6}?back in(to)?\b|substitut\w* (\S+ ){0,6}?back into the original \w+ (to|and) (check|verify|confirm|see|make sure)\b"),
    Cue("verification", ("?",), r"(does|do|is|are|did) (this|that|it|these|they|(the|my|our) (answer|result|solution|total|sum)s?) (really |actually )?(make sense|work|hold|satisfy|add up|right|correct|match|fit|consistent|reasonable|plausible|possible|agree)\b[^.!\n]{0,60}\?"),
    Cue("verification", ("recount", "recomput", "recalculat", "re-count", "re-comput", "re-calculat", "again", "once more", "time"), rf"{_US}{_ADVERB} (re-?(count|compute|calculate|add|derive)\b|(count|compute|calculate|add|multiply|work (it|this|that) out|(go|run|walk) (over|through))\b[^.\n]{{0,30}}\b(again|once more|one more time|a second time)\b)"),
    Cue("verification", ("again",), rf"(and|then) (check|verify|test) {_OURS}[^.\n]{{0,20}}\bagain\b"),
    Cue("verification", ("satisfied", "are met", "is met", "fulfilled", "as required", "as expected", "to be safe", "to be sure", "✓", "✔"), r"(both|all|these|the) (\w+ ){0,2}(conditions?|constraints?|equations?|requirements?|inequalit\w+) (are|is) (indeed )?(satisfied|met|fulfilled)\b|, as (required|expected)\b|to be (safe|sure)\b|[✓✔]"),
    Cue("verification", ("again",), rf"({_US}{_ADVERB} (read|see|look|go)|looking at|reading|looking back)\b[^.,\n]{{0,50}}\bagain\b"),
    Cue("verification", ("confirm", "verified"), r"(this|which|that) (also )?confirms\b|, confirming\b|(i|we) have (now )?(verified|confirmed)\b"),
    Cue("verification", ("see if", "see whether", "test if", "test whether"), rf"{_US}{_ADVERB} see (if|whether)\b[^.\n]{{0,40}}\b(correct|right|works?|holds?|true|fits?|consistent)\b|(i|we) test (if|whether)\b"),
    Cue("verification", ("**verify", "**check", "# verify", "# check"), r"(\*\*|#\s*)(verify|check) (the|our|your|that|with)\b[^*\n]{1,40}"),
    Cue("verification", ("really", "missing", "adds up", "add up", "everything"), r"\b(is|are|does|do) [^.?\n]{1,40} really [^.?\n]{1,40}\?|nothing is missing\b|(everything|it all|the numbers) (adds? up|fits?|agrees?|is consistent)\b"),
    Cue("verification", ("check", "verify", "test"), r"(check|verify|test) (the|our|my|your|this) (final )?(answer|result|solution|calculation|arithmetic|work)\b(?! of\b)", True),
    Cue("verification", ("checks out", "match", "agrees", "consistent"), r"(it|that|this|everything|which) (all )?checks out\b|(this|that|which|it) (matches|agrees with|is consistent with) (the|our|my|what)\b"),
    Cue("aha", ("aha", "a-ha", "eureka"), r"a-?ha\b(?! (sports|stadium|music))|eureka\b", True),
    Cue("aha", ("aha",), r"(an|the|my) aha moment"),
    Cue("aha", ("oh", "ah", "i see"), r"oh right\b|(oh|ah)\s*[,!.]+\s*(i see|of course|right|now|that'?s|so|yes)\b|(oh )?i see( (it|now))?(?=\s*[!.,…—])", True),
    Cue("aha", ("now i", "just ", "clicks", "clicked", "dawns", "hits me"), r"now i (see|get it|understand|realize)\b|(i('ve)? )just (realized|realised|noticed)\b|it (just |finally )?(clicks|clicked|dawns on me|hits me)\b"),
    Cue("aha", ("that", "of course", "here", "there", "key"), r"that'?s (it|the (key|trick|insight))\s*!|of course\s*!|(here'?s|here is|there'?s) the (key|trick|insight|catch)\b|the key (insight|observation|realization) is\b"),
    Cue("backward_chaining", ("backward", "from the", "with the"), r"work(ing|s)? backwards?\b|backwards? from (the|our)\b|(start(ing)?|reason(ing)?) (from|with) the (end|answer|target|goal|result|conclusion|desired)\b"),
    Cue("backward_chaining", ("need", "have to", "require"), r"(to|in order to) ((get|reach|obtain|end up with|arrive at|hit)\s|(make|have) (\d|the target|an? (even|odd|sum|product|total)))[^.,;\n]{1,40},? (i|we)('d| would| must| will)? (need|have to|require)\b"),
    Cue("backward_chaining", ("what ", "which ", "before", "reverse", "undo"), r"what (number )?(times|plus|minus|multiplied by|divided by)\b|(i|we) want [^.\n]{1,30}[.;,]\s*(what|which)\b|(suppose|if|since) the (final|last|end) \w+ (is|was)\b[^.\n]{0,40}\bbefore\b|(reverse|undo) the (steps|operations|process|last)\b|\bin reverse\b"),
    Cue("backward_chaining", ("suffic", "enough", "what ", "the last", "the final", "target", "goal"), r"it (suffices|is (enough|sufficient)|would be enough) to\b|what (would|do|must) (i|we) (need|have)\b|what (would|should|must|does|do) \S+ (have|need) to be\b|the (last|final) (step|operation|move) (must|has to|should)\b|(the|my|our) (target|goal) is\b[^.\n]{0,60}\bneed\b"),
    Cue("backward_chaining", ("need", "would have to"), r"for (\w+ ){1,4}to (be|equal|hold|work|happen)\b[^.,\n]{0,30},\s*([^.\n]{0,40}\bwould (need|have) to|(i|we) (would )?need)\b"),
    Cue("subgoal", ("step",), r"(\*\*|#+\s*)?step (\d+|one|two|three|four)\s*(\*\*)?\s*[:.)]|the (first|next|second|third|final) step is\b", True),
    Cue("subgoal", ("separately", "case by case", "in turn", "one by one", "one at a time"), rf"{_US}{_ADVERB} (handle|treat|consider|take|count|do|deal with|go through)\b[^.\n]{{1,60}}\b(separately|case by case|in turn|one by one|one at a time)\b"),
    Cue("subgoal", ("part ", "case "), r"(\*\*)?(part|case) (\d|one|two|three|four|[ivx]{1,3})\s*(\*\*)?\s*[:.)]", True),
    Cue("subgoal", ("let", "i", "we"), r"(first(ly)?|next|then|after that|finally|now)\s*,? (let'?s|let me|let us|(i|we)('ll| (need|will|should|have|must|can))( to)?) (find|compute|calculate|determine|solve|work out|figure out|get|count|simplify|factor|express|identify|consider|set up|handle|rewrite|isolate|list|look at|convert|add|subtract|multiply|divide|combine)\b", True),
    Cue("subgoal", ("first", "start", "begin", "break", "split", "divide", "separate"), r"(let'?s|let me|let us|i('?ll| will| can)?|we('ll| will| can| should)?) (first (?!prov|show)|start by|begin by|start with|begin with|(break|split|divide|separate) (this|it|the \w+)( down)?( into)?)\b"),
    Cue("subgoal", ("need to", "plan", "once", "there are"), r"(i|we) (first|then|next) need to\b|(my|our|the)?\s*\bplan\s*(:|is (to|as|simple))|there are (two|three|four|several) (things|steps|parts) to (do|find|solve|compute)|once (i|we) (have|know|find) [^.,;\n]{1,40},\s*(i|we) can\b"),
)  # fmt: skip

CHINESE = (
    Cue("backtracking", HAN, rf"(等等|等一下|等下|且慢|慢着)({_PAUSE}|(?=\s*(我|让|这|那|好像|不|是不是|会不会|似乎)))", True),
    Cue("backtracking", HAN, r"((这|那)(好像|似乎|显然|样|里|个结果|个答案)*|好像|似乎|显然|结果|还是|哪里|不、)?不对(?=\s*([，。！？…,.!?；;]|劲|吧|啊|呀|，|$))", True),
    Cue("backtracking", HAN, r"(我|这里|刚才|前面|上面|之前|好像|似乎|可能|一定)([^，。！？\s]{0,5})(算|看|搞|弄|想|理解|写|记|数|列)?错(了|误)|(我|这里|刚才|前面|上面|之前)[^，。！？\s]{0,5}(漏(掉|看|算|了)|忽略了|忘(了|记)(除|乘|加|减|考虑|算|进位|换算|单位|还))"),
    Cue("backtracking", HAN, r"(让我|我们?|需要|得|应该|必须|那就|要|来|再)?重新(算|计算|考虑|思考|审视|审题|推导|梳理|分析|来过|来一遍|来一次|尝试|列式|列方程|理解|想|检视)"),
    Cue("backtracking", HAN, r"换(一种|个|一个|种)(方法|思路|角度|方式|做法|办法)|此路不通|行不通|走不通|(方法|思路|办法|做法|这样)(是)?(不行|不通|不可行)|(让我|我|那)?再试(试|一次|一下)?(?=[，。！,.:：\s]|别的|另)|回过头(来)?(看|想|检查)|回到(前面|上一步|原点)"),
    Cue("backtracking", HAN, r"(哎呀|糟糕|哦不|不不不|唉)" + _PAUSE + r"|不\s*[，,]\s*(应该|应当|不是|那是|我|这)", True),
    Cue("verification", HAN, r"(让我们?|我们?(来|再|可以|需要|应该|要)?|来|再|需要|下面|现在|最后|接着)\s*(仔细|快速|重新|简单)?(检查|验证|检验|核对|核实|确认|验算)(一下|一遍|下)?"),
    Cue("verification", HAN, r"(检查|验证|检验|验算|核对|核实)((一下|一遍|下)|\s*(?=[：:，,]|答案|结果|是否|这个|上述|计算))", True),
    Cue("verification", HAN, r"回头(看|检查|再看)|(再|重新)(算|看|检查|核对|确认|验证|数)(一遍|一次|一下)|代(入|回)(到)?(原|上|题|方程|检验|验证|进去|回去)|(看看|看一下)[^，。\n]{0,10}?(是否|是不是|对不对|正确|成立|合理|满足|符合|等于)|(结果|答案|这|它)[^，。？\n]{0,6}(合理|对|正确|可能|成立|符合题意)吗|(符合|满足)(题意|条件|要求|题目)|(为了)?(保险起见|确保(没有|答案|结果|无误))"),
    Cue("aha", HAN, r"原来如此|啊哈|恍然大悟|妙(啊|极了)|灵光一?[闪现]|茅塞顿开|(哦|啊|噢)\s*[，,！!]\s*(我|原来|对|明白|是)|我(明白|懂|知道|想到|想起来)了(?=\s*[，。！,.!：:]|$)"),
    Cue("aha", HAN, r"(对了|有了|原来是这样)(?=\s*[，！,!])|(我)?突然(发现|意识到|想到|明白)|(我)?忽然(发现|意识到|想到|明白)", True),
    Cue("backward_chaining", HAN, r"倒推|逆推|反推|倒着(推|想|算|来)|从(结果|答案|目标|结论|后往前|终点)(出发|开始|入手|往回|倒|推|来看)|反过来(想|推|算|考虑)|逆向(思考|推理|思维)"),
    Cue("backward_chaining", HAN, r"(要想?|为了|想要)(得到|使|让|凑出|凑成|达到|证明)[^，。！\n]{1,20}[，,]?\s*(我们?)?(就|必须|需要|只需|还需|可以想|先要)|从最后[^，。\n]{0,4}往(回|前)|往回(想|推|算|看)|(最后|最终)(要|应|必须|剩)[^，。\n]{1,12}[，,]\s*(所以|那么|说明)?\s*(之前|前一步|上一步|原来)"),
    Cue("subgoal", HAN, r"(第[一二三四五六1-6]步|步骤\s*[一二三四五六1-6])\s*(?=[，,：:、是]|\s)", True),
    Cue("subgoal", HAN, r"(首先|接下来|接着|下一步|然后|其次|最后)\s*(?=[，,：:]?\s*(我们?|让我|来|先|需要|要(?=求|算|找|计算|确定)|计算|求|找|算|确定|考虑|解|是(要)?(求|算|找|计算)))", True),
    Cue("subgoal", HAN, r"(我们?|可以|需要|要|得)先(求|算|计算|找|确定|解|看|考虑|来看)出?|(分成|分为|拆成|分解为|拆分为)[^，。]{0,6}(步|部分|小问题|子问题|阶段|情况)|先(算|求|计算|找|看|确定|解)[^，。\n]{1,14}[，,]\s*(再|然后|接着)"),
)  # fmt: skip
