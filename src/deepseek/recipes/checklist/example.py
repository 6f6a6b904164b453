"""A short regulation of our own, in English and in Chinese, as it was and as it is: what --example runs on."""

from __future__ import annotations

NAME = "rules-on-small-loans"
ENGLISH = """Rules on Small Loans

Chapter I General

Article 1 A lender must hold a licence of the Authority before it offers a loan.
Article 2 A lender shall state the yearly rate of interest, all fees and the total to be repaid in writing before the \
borrower signs.
Article 3 The yearly rate of interest may not exceed 24 %.
Article 4 If the borrower withdraws within 14 days after the loan was paid out, the lender shall take back the \
principal \
and may ask for interest of these days only.
Article 5 A lender shall not:
(a) deduct interest from the principal in advance;
(b) ask for the password of an account of the borrower;
(c) visit the borrower at the place of work without consent.
Article 6 A borrower may repay early, unless the contract was signed before these rules took effect.
Article 7 A lender shall keep the documents under Article 2 for six years and give them to the Authority on request.
Article 8 A lender that breaks Article 3 or Article 5 shall pay a fine of up to 50,000 euros. The Authority will \
publish \
the decision on its website.
Article 9 Insurance of the loan is governed by Article 40.
"""
CHINESE = """小额贷款管理规则

第一章 总则

第一条 贷款人发放贷款前，应当取得主管机关颁发的许可证。
第二条 贷款人应当在借款人签字前，以书面形式告知年利率、全部费用和还款总额。
第三条 年利率不得超过百分之二十四。
第四条 借款人自贷款发放之日起十四日内撤回借款的，贷款人应当收回本金，并可以只收取实际占用期间的利息。
第五条 贷款人不得有下列行为：
（一）预先在本金中扣除利息；
（二）索取借款人账户的密码；
（三）未经同意到借款人的工作场所催收。
第六条 借款人可以提前还款，但是本规则施行前签订的合同另有约定的除外。
第七条 贷款人应当将本规则第二条规定的文件保存六年；主管机关要求查阅的，应当提供。
第八条 贷款人违反本规则第三条、第五条规定的，由主管机关责令改正，处五万元以下罚款。处罚决定由主管机关在其网站上公布。
第九条 贷款保险适用本规则第四十条的规定。
"""


def write_example_text(chinese: bool) -> tuple[str, str]:
    """Name and text of the example's file."""
    return (f"{NAME}.zh.txt", CHINESE) if chinese else (f"{NAME}.txt", ENGLISH)
